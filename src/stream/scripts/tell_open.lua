-- What a consumer says of the jobs it holds that do not run: written over what it said before. The first element is how many
-- wait for their next attempt.
local function tell_open(consumer, open)
  if #open <= 1 then
    redis.call('HDEL', OPEN, consumer)
  else
    local jobs = table.concat(open, ',', 2)
    redis.call('HSET', OPEN, consumer, string.format('%.0f %s [', now_ms(), open[1]) .. jobs .. ']')
  end
end

