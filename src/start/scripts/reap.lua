-- May this container of ours go? container, the fencing token on its label, `1` to only ask.
-- Answers 1 where the record says that the game runs elsewhere or not at all, and names it as condemned; 0 where the
-- record names it, an attempt is under way (which will adopt or remove it), or nothing can be said: no record at all
-- (Redis lost it), or one that is older than the label (Redis went back).
function verbs.reap(rec, call)
  if redis.call('EXISTS', rec) == 0 then return NO end
  local state, container, fence, condemned = unpack(redis.call('HMGET', rec, 'state', 'container_id', 'fence', 'condemned'))
  if state == 'starting' or (state == 'running' and container == call[2]) then return NO end
  if (tonumber(fence) or 0) < (tonumber(call[3]) or 0) then return NO end
  if call[4] ~= '1' and (not condemned or condemned == '') then
    redis.call('HSET', rec, 'condemned', call[2], 'updated_at_ms', now_ms())
  end
  return YES
end
