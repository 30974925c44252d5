-- Entries of a stream as people are shown them: names and values that are long are cut here, so that no payload travels.
--
-- ORDER: `XRANGE` or `XREVRANGE`; FROM, TO: its range; COUNT: entries at most; BYTES_MAX: behind so many bytes the next call goes on;
-- VALUE_MAX: bytes of a text; NAME, WANTED: a field and its value: of other entries none is answered, and the first one that has it
-- is the last; '' where all are wanted.
-- Answers 1 where the end was reached, how many were looked at, the last one's id or '', and of each its id, its bytes, names and
-- values, and of those that are cut their places and lengths.
local ORDER, FROM, TO, COUNT, BYTES_MAX, VALUE_MAX, NAME, WANTED = unpack(ARGV)
local count, bytes_max, value_max = tonumber(COUNT), tonumber(BYTES_MAX), tonumber(VALUE_MAX)
-- One command answers one entry at first, twice as many while none was large: Redis copies all that it answers.
local LARGE_ENTRY, CHUNK_MAX = 4096, 64
local FIRST_ID, LAST_ID = '0-0', '18446744073709551615-18446744073709551615'

local function excerpt_of(entry)
  local bytes, flat, cuts, found = 0, {}, {}, nil
  for position, text in ipairs(entry[2]) do
    bytes = bytes + #text
    if #text > value_max then
      cuts[#cuts + 1] = position
      cuts[#cuts + 1] = #text
      text = string.sub(text, 1, value_max)
    end
    flat[position] = text
    -- The first of repeated fields.
    if not found and position % 2 == 0 and flat[position - 1] == NAME then found = text end
  end
  return bytes, { entry[1], bytes, flat, cuts }, NAME == '' or found == WANTED
end

local rows, looked, total, chunk, from, last = {}, 0, 0, 1, FROM, ''
while looked < count and total < bytes_max do
  local entries, largest = redis.pcall(ORDER, STREAM, from, TO, 'COUNT', chunk), 0
  if entries.err then return entries end
  for _, entry in ipairs(entries) do
    local bytes, row, is_wanted = excerpt_of(entry)
    looked, last, total, largest = looked + 1, entry[1], total + bytes, math.max(largest, bytes)
    if is_wanted then
      rows[#rows + 1] = row
      if NAME ~= '' then return { 1, looked, last, rows } end
    end
  end
  -- Redis refuses a range that begins beyond an end.
  if #entries < chunk or last == (ORDER == 'XRANGE' and LAST_ID or FIRST_ID) then return { 1, looked, last, rows } end
  from = '(' .. last
  chunk = math.min(largest < LARGE_ENTRY and chunk * 2 or 1, CHUNK_MAX, math.max(count - looked, 1))
end
return { 0, looked, last, rows }
