-- A clean exit: marks the replica as gone, and deletes its consumer only where it holds nothing, in this one step
-- (XGROUP DELCONSUMER silently drops what the consumer still has pending).
--
-- ARGV: group, me, JSON about the replica. Answers how many entries the consumer still holds.
local held = redis.pcall('XPENDING', JOBS, GROUP, '-', '+', 1, ME)
if held.err then return 0 end
if not wrong_type(REPLICAS, 'hash') then be_present('left', ARGV[3]) end
if #held == 0 then redis.call('XGROUP', 'DELCONSUMER', JOBS, GROUP, ME) end
return #held
