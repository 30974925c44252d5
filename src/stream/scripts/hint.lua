-- A message to one replica: it looks at once for what was handed over to it, what operators want of it, and whether the fleet is
-- paused. The message says nothing itself, and may be lost: the replica looks by itself too.
--
-- A refusal is written to the server's ACL log; 6.2 cannot be asked before.
local function hint(consumer)
  local channel = JOBS .. ALIVE_SUFFIX .. consumer
  if not redis.acl_check_cmd or redis.acl_check_cmd('PUBLISH', channel, 'look') then
    redis.pcall('PUBLISH', channel, 'look')
  end
end
