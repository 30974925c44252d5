-- Runs the calls, each by itself. Stands behind the verbs.
local replies = {}
for position, call in ipairs(cmsgpack.unpack(ARGV[1])) do
  local fine, reply = pcall(verbs[call[1]], KEYS[position], call)
  -- 6.2 raises a text, 7.0 and later a table.
  if not fine then reply = { 'error', type(reply) == 'table' and tostring(reply.err) or tostring(reply) } end
  replies[position] = reply
end
return cmsgpack.pack(replies)
