-- Runs the calls, each by itself, and writes what they have put. Stands behind the verbs.
local replies = {}
for position, call in ipairs(cmsgpack.unpack(ARGV[1])) do
  local fine, reply = pcall(verbs[call[1]], KEYS[position], call)
  -- 6.2 raises a text, 7.0 and later a table.
  if not fine then reply = { 'error', type(reply) == 'table' and tostring(reply.err) or tostring(reply) } end
  replies[position] = reply
end

local kept, gone = {}, {}
for _, key in ipairs(to_write) do
  local value = written[key]
  if value then
    kept[#kept + 1] = key
    kept[#kept + 1] = value
  else
    gone[#gone + 1] = key
  end
end
if #kept > 0 then redis.call('MSET', unpack(kept)) end
if #gone > 0 then redis.call('DEL', unpack(gone)) end
if at_end then at_end() end
return cmsgpack.pack(replies)
