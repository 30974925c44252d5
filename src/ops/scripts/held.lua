-- Jobs that consumers hold, oldest first. GROUP; FROM: where; COUNT: entries at most; BYTES_MAX: behind so many bytes the next
-- call goes on; NAME_MAX: bytes of a name.
-- Answers 1 where the end was reached, and of each its id, consumer, idle ms, deliveries, game and image.
local GROUP, FROM, COUNT, BYTES_MAX, NAME_MAX = unpack(ARGV)
local bytes_max, name_max = tonumber(BYTES_MAX), tonumber(NAME_MAX)
local pending, rows, total = redis.call('XPENDING', JOBS, GROUP, FROM, '+', COUNT), {}, 0
for _, one in ipairs(pending) do
  if total >= bytes_max then return { 0, rows } end
  local entry = redis.call('XRANGE', JOBS, one[1], one[1])[1]
  local game, image, bytes = '', '', 0
  if entry then game, image, bytes = job_of(entry[2], name_max) end
  rows[#rows + 1] = { one[1], one[2], one[3], one[4], game, image }
  total = total + bytes
end
local last = pending[#pending]
local is_over = #pending < tonumber(COUNT) or last[1] == '18446744073709551615-18446744073709551615'
return { is_over and 1 or 0, rows }
