-- Counts one service failure of an entry that this consumer holds. The count lives outside the pending list, so that
-- claims, hand-backs and a lost group neither raise nor forget it.
--
-- ARGV: group, me, id, ms since this process got the entry. Answers crashes, failures, ms since the first delivery
-- that failed; or nothing where the entry is no longer ours.
local refused = wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local id = ARGV[3]
local pending = redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1]
if pending and pending[2] ~= ME then return false end
local now = now_ms()
local crashes, failures, since = attempts_of(id)
if since == 0 then since = now - tonumber(ARGV[4]) end
write_attempts(id, crashes, failures + 1, since)
-- While it waits for its next attempt its process takes other entries too.
if crashes > 0 then redis.call('HDEL', ATTEMPTS, 'alone:' .. id) end
return { crashes, failures + 1, now - since }
