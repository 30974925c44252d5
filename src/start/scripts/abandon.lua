-- Gives a job up for good: takes the fence from whoever may still work on it, so that no later job of its game is
-- blocked, and keeps the answer. Touches nothing of another job's attempt or running game.
--
-- ARGV: source, field in results, owner, answer. Answers stored <answer> where the job was answered before; taken
-- <fence> <host>, or kept where the record is another job's.
local stored = redis.call('HGET', RES, ARGV[2])
if stored then return { 'stored', stored } end
store_result(ARGV[2], ARGV[4])
local state, by, host = unpack(redis.call('HMGET', REC, 'state', 'source_ref', 'host'))
if state ~= 'starting' or by ~= ARGV[1] then return { 'kept' } end
local fence = tostring(redis.call('HINCRBY', REC, 'fence', 1))
redis.call('HSET', REC, 'state', 'failed', 'owner', ARGV[3], 'container_id', '', 'engine_endpoint', '',
  'updated_at_ms', now_ms())
redis.call('DEL', LEASE)
return { 'taken', fence, host }
