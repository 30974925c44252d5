-- Ends an attempt: record and stored result in one step, and the lease goes. ARGV: fence, state, container, endpoint,
-- field in results, answer, condemned container that could not be removed or ''. Answers 1, or 0 where fenced.
if not is_fence(ARGV[1]) then return 0 end
redis.call('HSET', REC, 'state', ARGV[2], 'container_id', ARGV[3], 'engine_endpoint', ARGV[4], 'condemned', ARGV[7],
  'updated_at_ms', now_ms())
store_result(ARGV[5], ARGV[6])
redis.call('DEL', LEASE)
return 1
