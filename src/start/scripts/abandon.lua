-- Gives a job up for good: takes the fence from whoever may still work on it, so that no later job of its game is
-- blocked, and keeps the answer. Touches nothing of another job's attempt or running game.
--
-- source, field in results, owner, answer, the container of this game if one was found or ''. Answers stored <answer>
-- where the job was answered before; taken, or kept where the record is another job's.
function verbs.abandon(rec, call)
  local _, source, field, owner, answer, container = unpack(call)
  local stored = redis.call('HGET', beside(rec, 'res'), field)
  if stored then return { 'stored', stored } end
  store_result(rec, field, answer)
  local state, by = unpack(redis.call('HMGET', rec, 'state', 'source_ref'))
  if state ~= 'starting' or by ~= source then return { 'kept' } end
  redis.call('HINCRBY', rec, 'fence', 1)
  redis.call('HSET', rec, 'state', 'failed', 'owner', owner, 'container_id', '', 'engine_endpoint', '',
    'condemned', container, 'updated_at_ms', now_ms())
  redis.call('DEL', beside(rec, 'lease'))
  return { 'taken' }
end
