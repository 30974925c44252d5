-- Jobs of the stream, oldest first. FROM: where; COUNT: entries at most; BYTES_MAX: behind so many bytes the next call goes on;
-- NAME_MAX: bytes of a name.
-- Answers 1 where the end was reached, and of each its id, game and image.
local FROM, COUNT, BYTES_MAX, NAME_MAX = unpack(ARGV)
local count, bytes_max, name_max = tonumber(COUNT), tonumber(BYTES_MAX), tonumber(NAME_MAX)
local rows, from, total, chunk = {}, FROM, 0, 1
while #rows < count and total < bytes_max do
  local entries, largest = redis.call('XRANGE', JOBS, from, '+', 'COUNT', chunk), 0
  for _, entry in ipairs(entries) do
    local game, image, bytes = job_of(entry[2], name_max)
    rows[#rows + 1] = { entry[1], game, image }
    total, largest, from = total + bytes, math.max(largest, bytes), '(' .. entry[1]
  end
  -- Redis refuses a range that begins behind the largest possible id.
  if #entries < chunk or from == '(18446744073709551615-18446744073709551615' then return { 1, rows } end
  chunk = next_chunk(chunk, largest, count - #rows)
end
return { 0, rows }
