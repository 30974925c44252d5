-- Begins an attempt, in one step: answers from what is known, or raises the fence, takes the lease and writes the
-- intent before anything touches the engine.
--
-- record: from the comma behind its numbers on, as it is to be; dead: a container that was seen dead, or ''; gone: a source
-- that is known to be pending nowhere, or ''; owner: as JSON. The calls of one run are of one owner, with leases of one length.
-- Answers: first <now> (there was no record: fence and attempt are 1, and the host is the caller's)
--   | stored <answer> | running <container> <host> | conflict <image> <container> <host> | busy <ms left>
--   | blocked <source> | go <now> <fence> <attempt> <host> <condemned container or ''>

-- How a game's first record begins, and what is answered to it.
local first_beginning, first_answer

function verbs.begin(key, record, lease_ms, dead, gone, owner)
  local text = get(key)
  if not text then
    -- A game without a record has no answers either: they are kept when the record goes from one job to another.
    first_beginning = first_beginning or beginning(1, owner, now_ms() + lease_ms, now_ms(), 1)
    first_answer = first_answer or { 'first', whole(now_ms()) }
    put(key, first_beginning .. record)
    return first_answer
  end
  local rec, new = decode(key, text), decode_sent(key, owner, record)
  local stored = answered(key, rec, new)
  if stored then return { 'stored', stored } end

  local is_starting, is_dead, is_again = rec.state == 'starting', false, is_of_one_job(rec, new)
  if rec.state == 'running' then
    is_dead = dead ~= '' and rec.container_id == dead
    if not is_dead and rec.image_ref == new.image_ref then return { 'running', rec.container_id, rec.host } end
    if not is_dead then return { 'conflict', rec.image_ref, rec.container_id, rec.host } end
  end

  local left = lease_left(rec, lease_ms)
  if left > 0 and not (is_again and rec.owner == new.owner) then return { 'busy', whole(left) } end
  if is_starting and not is_again and rec.image_ref ~= new.image_ref and rec.source_ref ~= gone then
    return { 'blocked', rec.source_ref }
  end
  raise_fence(key, rec)
  if rec.answer then keep_answer(key, rec) end
  new.fence, new.attempt, new.lease_until_ms, new.updated_at_ms = rec.fence, rec.attempt + 1, now_ms() + lease_ms, now_ms()
  new.container_id, new.engine_endpoint = rec.container_id, rec.engine_endpoint
  new.condemned = is_dead and dead or rec.condemned
  -- An attempt that may have begun on a host is finished there.
  if is_starting or is_dead then new.host = rec.host end
  put(key, encode(new))
  return { 'go', whole(now_ms()), whole(new.fence), whole(new.attempt), new.host, new.condemned }
end
