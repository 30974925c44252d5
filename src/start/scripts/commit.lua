-- Ends an attempt: record and stored result in one step, and the lease goes. fence, state, container, endpoint, field in
-- results, answer, condemned container that could not be removed or ''. Answers 1, or 0 where fenced.
function verbs.commit(rec, call)
  local _, fence, state, container, endpoint, field, answer, condemned = unpack(call)
  if not is_fence(rec, fence) then return NO end
  redis.call('HSET', rec, 'state', state, 'container_id', container, 'engine_endpoint', endpoint,
    'condemned', condemned, 'updated_at_ms', now_ms())
  store_result(rec, field, answer)
  redis.call('DEL', beside(rec, 'lease'))
  return YES
end
