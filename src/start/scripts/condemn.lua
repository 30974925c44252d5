-- Names a container that is to be removed, before it is: nobody adopts it from here on. ARGV: fence, container.
-- Answers 1, or 0 where the attempt is fenced and must not remove anything.
if not is_fence(ARGV[1]) then return 0 end
redis.call('HSET', REC, 'condemned', ARGV[2], 'updated_at_ms', now_ms())
return 1
