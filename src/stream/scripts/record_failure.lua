-- Counts one service failure of an entry that this consumer holds. The count lives outside the pending list, so that
-- claims, hand-backs and a lost group neither raise nor forget it.
--
-- Beside the count, the field `age:<id>` says for how long processes have had the entry in hand since it first failed, each by
-- its own monotonic clock: the server's may be set forward, and then the difference of two of its times condemns what is young.
-- (The third number of the count is the server's time of the first delivery that failed; versions before this one read it.)
--
-- PASSED: ms since this process got the entry or last recorded a failure of it. Answers crashes, failures, ms
-- in hand since the first failure; or nothing where the entry is no longer ours.
local ID, PASSED = unpack(ARGV, 3)
local refused = wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local passed = tonumber(PASSED)
local pending = redis.call('XPENDING', JOBS, GROUP, ID, ID, 1)[1]
if pending and pending[2] ~= ME then return false end
local crashes, failures, since = attempts_of(ID)
if since == 0 then since = now_ms() - passed end
local age = tonumber(redis.call('HGET', ATTEMPTS, 'age:' .. ID) or '0') or 0
if failures > 0 then age = age + passed end
write_attempts(ID, crashes, failures + 1, since)
redis.call('HSET', ATTEMPTS, 'age:' .. ID, string.format('%.0f', age))
-- Whoever wanted another attempt has seen one fail.
redis.call('HDEL', ATTEMPTS, 'retry:' .. ID)
-- While it waits for its next attempt its process takes other entries too.
if crashes > 0 then redis.call('HDEL', ATTEMPTS, 'alone:' .. ID) end
return { crashes, failures + 1, age }
