-- Outcomes that are failures, newest first. FROM: where; TO: the oldest id; COUNT: outcomes at most; BYTES_MAX: behind so many
-- bytes the next call goes on; NAME_MAX, TEXT_MAX: bytes of a name, of a text.
-- Answers 1 where the end was reached, how many outcomes were looked at, the last one's id or '', and of each failure its id, the
-- entry, game, image, code, text and attempt.
local FROM, TO, COUNT, BYTES_MAX, NAME_MAX, TEXT_MAX = unpack(ARGV)
local count, bytes_max, name_max = tonumber(COUNT), tonumber(BYTES_MAX), tonumber(NAME_MAX)
local text_max = tonumber(TEXT_MAX)
local rows, looked, last, total, chunk, from = {}, 0, '', 0, 1, FROM

-- The image is in the job alone, if that is still there.
local function image_of(source)
  if not string.match(source, '^%d+%-%d+$') or #source > 41 then return '', 0 end
  local found = redis.pcall('XRANGE', JOBS, source, source)
  if found.err or not found[1] then return '', 0 end
  local _, image, bytes = job_of(found[1][2], name_max)
  return image, bytes
end

while looked < count and total < bytes_max do
  local entries, largest = redis.call('XREVRANGE', RESULTS, from, TO, 'COUNT', chunk), 0
  for _, entry in ipairs(entries) do
    local values, bytes = {}, 0
    for position = 1, #entry[2], 2 do
      local name, value = entry[2][position], entry[2][position + 1]
      bytes = bytes + #name + #value
      values[name] = values[name] or value
    end
    if values['outcome'] == 'failure' then
      local source = string.sub(values['source_ref'] or '', 1, name_max)
      local image, more = image_of(source)
      bytes = bytes + more
      rows[#rows + 1] = { entry[1], { source, string.sub(values['game_id'] or '', 1, name_max), image,
        string.sub(values['error_code'] or '', 1, text_max), string.sub(values['error_message'] or '', 1, text_max),
        string.sub(values['attempt'] or '', 1, 20) } }
    end
    looked, last, from = looked + 1, entry[1], '(' .. entry[1]
    total, largest = total + bytes, math.max(largest, bytes)
  end
  if #entries < chunk or last == '0-0' then return { 1, looked, last, rows } end
  chunk = next_chunk(chunk, largest, count - looked)
end
return { 0, looked, last, rows }
