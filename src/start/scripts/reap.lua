-- May this container of ours go? ARGV: container, the fencing token on its label, `1` to only ask.
-- Answers 1 where the record says that the game runs elsewhere or not at all, and names it as condemned; 0 where the
-- record names it, an attempt is under way (which will adopt or remove it), or nothing can be said: no record at all
-- (Redis lost it), or one that is older than the label (Redis went back).
if redis.call('EXISTS', REC) == 0 then return 0 end
local state, container, fence, condemned = unpack(redis.call('HMGET', REC, 'state', 'container_id', 'fence', 'condemned'))
if state == 'starting' or (state == 'running' and container == ARGV[1]) then return 0 end
if (tonumber(fence) or 0) < (tonumber(ARGV[2]) or 0) then return 0 end
if ARGV[3] ~= '1' and (not condemned or condemned == '') then
  redis.call('HSET', REC, 'condemned', ARGV[1], 'updated_at_ms', now_ms())
end
return 1
