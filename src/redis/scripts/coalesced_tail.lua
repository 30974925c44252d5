-- Runs the calls, each by itself, and writes what they have put. It follows the verbs.
local replies = {}
do
  local words, at = cmsgpack.unpack(PACKED), 1
  for position = 1, CALLS do
    local fine, reply = pcall(verbs[words[at + 1]], KEYS[position], words[at + 2], words[at + 3], words[at + 4],
      words[at + 5], words[at + 6], words[at + 7], words[at + 8])
    at = at + words[at] + 1
    -- 6.2 raises a text, 7.0 and later a table.
    if not fine then reply = { 'error', type(reply) == 'table' and tostring(reply.err) or tostring(reply) } end
    replies[position] = reply
  end
end

-- In front of the values: what refuses it leaves nothing written, and after the first write nothing is refused.
if at_end then at_end() end
do
  local kept, count, gone = {}, 0, {}
  for key in pairs(changed) do
    local value = values[key]
    if value then
      kept[count + 1], kept[count + 2] = key, value
      count = count + 2
    else
      gone[#gone + 1] = key
    end
  end
  if count > 0 then redis.call('MSET', unpack(kept)) end
  if #gone > 0 then redis.call('DEL', unpack(gone)) end
end
return cmsgpack.pack(replies)
