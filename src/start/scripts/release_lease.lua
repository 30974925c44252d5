-- Gives the lease up so that the next attempt need not wait for it to run out. ARGV: fence, owner.
if redis.call('GET', LEASE) == ARGV[2] .. ':' .. ARGV[1] then redis.call('DEL', LEASE) end
return 1
