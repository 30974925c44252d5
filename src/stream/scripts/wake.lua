-- Lets the replicas look at once whether an operator holds them. Those that hear no message look with their next renewal.
-- Answers how many messages were sent.
local HINTS_MAX = 1000
local sent = 0
if wrong_type(REPLICAS, 'hash') then return sent end
local flat = redis.call('HGETALL', REPLICAS)
for i = 1, #flat, 2 do
  local state = string.match(flat[i + 1], '^%d+ (%a+) ')
  if (state == 'running' or state == 'draining') and sent < HINTS_MAX then
    hint(flat[i])
    sent = sent + 1
  end
end
return sent
