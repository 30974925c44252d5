-- A fenced attempt asks whether the container it made itself may go. ARGV: container. Answers 1 where nobody can have
-- adopted it: no attempt is under way and the record names another container, or none.
local state, container, condemned = unpack(redis.call('HMGET', REC, 'state', 'container_id', 'condemned'))
if state == 'starting' or (state == 'running' and container == ARGV[1]) then return 0 end
if condemned and condemned ~= '' and condemned ~= ARGV[1] then return 0 end
redis.call('HSET', REC, 'condemned', ARGV[1], 'updated_at_ms', now_ms())
return 1
