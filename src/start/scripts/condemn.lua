-- Names a container that is to be removed, before it is: nobody adopts it from here on. fence, container.
-- Answers 1, or 0 where the attempt is fenced and must not remove anything.
function verbs.condemn(rec, call)
  if not is_fence(rec, call[2]) then return NO end
  redis.call('HSET', rec, 'condemned', call[3], 'updated_at_ms', now_ms())
  return YES
end
