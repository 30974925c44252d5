-- A fenced attempt asks whether the container it made itself may go. container. Answers 1 where nobody can have adopted
-- it: no attempt is under way and the record names another container, or none.
function verbs.disown(rec, call)
  local state, container, condemned = unpack(redis.call('HMGET', rec, 'state', 'container_id', 'condemned'))
  if state == 'starting' or (state == 'running' and container == call[2]) then return NO end
  if condemned and condemned ~= '' and condemned ~= call[2] then return NO end
  redis.call('HSET', rec, 'condemned', call[2], 'updated_at_ms', now_ms())
  return YES
end
