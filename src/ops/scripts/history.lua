-- STEP_MS: how long a slot's time is; COUNT: how many slots are wanted, up to the one that runs; KEPT: how many there are.
--
-- Answers the server's clock in ms, then the slots' values, the oldest first, empty where there is none or one too long.
-- Writes nothing.
local STEP_MS, COUNT, KEPT = unpack(ARGV)
local held = redis.call('TYPE', SLOTS)
held = held.ok or held
if held ~= 'none' and held ~= 'hash' then
  return redis.error_reply('KEYTYPE ' .. SLOTS .. ' holds a ' .. held .. ' where a hash is expected')
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = math.floor(now / STEP_MS)
local answer = { string.format('%.0f', now) }
for first = last - COUNT + 1, last, 60 do
  local slots = {}
  for number = first, math.min(first + 59, last) do slots[#slots + 1] = string.format('%d', number % KEPT) end
  for _, value in ipairs(redis.call('HMGET', SLOTS, unpack(slots))) do
    answer[#answer + 1] = value and #value <= VALUE_MAX and value or ''
  end
end
return answer
