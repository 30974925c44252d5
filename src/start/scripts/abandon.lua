-- Gives a job up for good: takes the fence from whoever may still work on it, so that no later job of its game is
-- blocked, and keeps the answer. Touches nothing of another job's attempt or running game.
--
-- record: from the comma behind its numbers on, as it is to be where there is none; container: of this game, if one was found,
-- or ''; owner: as JSON.
-- Answers stored <answer> where the job was answered before; taken, or kept where the record is another job's or there was
-- none.
function verbs.abandon(key, record, container, owner)
  local text = get(key)
  if not text then
    -- No attempt is known: with fence 0 the record says nothing about a container that is there all the same.
    put(key, beginning(0, owner, 0, now_ms(), 0) .. record)
    return { 'kept' }
  end
  local rec, new = decode(key, text), decode_sent(key, owner, record)
  local stored = answered(key, rec, new)
  if stored then return { 'stored', stored } end
  if rec.state ~= 'starting' or not is_of_one_job(rec, new) then
    keep_answer(key, new)
    return { 'kept' }
  end
  raise_fence(key, rec)
  rec.state, rec.owner, rec.condemned, rec.answer = 'failed', new.owner, container, new.answer
  rec.container_id, rec.engine_endpoint = '', ''
  rec.lease_until_ms, rec.updated_at_ms = 0, now_ms()
  put(key, encode(rec))
  return { 'taken' }
end
