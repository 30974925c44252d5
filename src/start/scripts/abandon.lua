-- Gives a job up for good: takes the fence from whoever may still work on it, so that no later job of its game is
-- blocked, and keeps the answer. Touches nothing of another job's attempt or running game.
--
-- ARGV: source, field in results, owner, answer, the container of this game if one was found or ''. Answers stored <answer> where the job was answered before; taken,
-- or kept where the record is another job's.
local stored = redis.call('HGET', RES, ARGV[2])
if stored then return { 'stored', stored } end
store_result(ARGV[2], ARGV[4])
local state, by = unpack(redis.call('HMGET', REC, 'state', 'source_ref'))
if state ~= 'starting' or by ~= ARGV[1] then return { 'kept' } end
redis.call('HINCRBY', REC, 'fence', 1)
redis.call('HSET', REC, 'state', 'failed', 'owner', ARGV[3], 'container_id', '', 'engine_endpoint', '',
  'condemned', ARGV[5], 'updated_at_ms', now_ms())
redis.call('DEL', LEASE)
return { 'taken' }
