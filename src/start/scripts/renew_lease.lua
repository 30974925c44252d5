-- Renews the lease of an attempt that still has the fence. ARGV: fence, owner, lease ms. Answers 1 or 0.
if not is_fence(ARGV[1]) or redis.call('HGET', REC, 'state') ~= 'starting' then return 0 end
redis.call('SET', LEASE, ARGV[2] .. ':' .. ARGV[1], 'PX', ARGV[3])
return 1
