-- Settles a batch: for each entry the fence, the outcome and/or the dead letter, the ledger, XACK; then the mirror.
--
-- Written for speed where a batch's length counts: one packed argument, because Redis and the client pay for each one;
-- no table per entry; one call each for the fence, the ledger's two sides and the acknowledgement.
--
-- BUCKET: of the ledger, for the hour of all the batch's ids. HELD_MAX: how many entries this consumer holds at most; FIRST and
-- LAST: smallest and largest id; PACKED: one MessagePack array of strings: the head, which is taken apart below, the ids, then
-- per entry, in the same order, a verb and
--   `known`    nothing          (the ledger had it when it was read: acknowledge only)
--   `outcome`  the values of the outcome's fields
--   `dead`     the values of the dead letter's head, m, m original names and values
--   `both`     as `outcome`, then as `dead`
--   `traced_outcome`, `traced_both`   the same, with a `traceparent` behind the outcome's values: only with all of OUTCOME_FIELDS
-- Answers: move of the mirror, watermark, foreign mirror value or '', last-delivered id, then nothing where every entry is ok, else one
-- status per entry, in order:
--   ok; dup (settled before); lost (another consumer has it); unknown (above all ids that the stream has ever had);
--   expired (put back: too old for the ledger to tell whether it was settled); skipped (not reached); or Redis's error text.
local ME, HELD_MAX, FIRST, LAST, PACKED = unpack(ARGV, 2)
local packed = cmsgpack.unpack(PACKED)
-- How many entries; how many values an outcome has; of the dead-letter stream, or '' where nothing of the batch is dead; in ms;
-- `1` where the ledger's index is to be written; `1` where attempts may be written down; how many names of outcome fields follow,
-- none where the outcomes are those of start jobs.
local COUNT, OUTCOME_VALUES, DEAD_MAX, LEDGER_TTL, WRITES_INDEX, HAS_ATTEMPTS, NAMES = unpack(packed, 1, PACKED_HEAD)
local count, outcome_values, has_attempts = tonumber(COUNT), tonumber(OUTCOME_VALUES), HAS_ATTEMPTS == '1'
local ids, names = {}, tonumber(NAMES)
local before_ids = PACKED_HEAD + names
for i = 1, count do ids[i] = packed[before_ids + i] end

-- A command that is needed anyway refuses a key of another type; which it is, is asked only then. The results stream is
-- checked by the first XADD; of a key of another type MGET answers nothing.
local function refusal()
  return wrong_type(RESULTS, 'stream') or wrong_type(BUCKET, 'set') or wrong_type(MIRROR, 'string')
    or wrong_type(SHADOW, 'string') or has_attempts and wrong_type(ATTEMPTS, 'hash')
    or DEAD_MAX ~= '' and wrong_type(DEAD, 'stream') or nil
end
local held, shadow = unpack(redis.call('MGET', MIRROR, SHADOW))
local settled = redis.pcall('SMISMEMBER', BUCKET, unpack(ids))
-- Whatever refused it: without the ledger nothing is published.
if settled.err then return refusal() or redis.error_reply(settled.err) end
if has_attempts or DEAD_MAX ~= '' or not (held and shadow) then
  local refused = refusal()
  if refused then return refused end
end
local delivered, pending_before = last_delivered()
if not delivered then return redis.error_reply(pending_before) end

local mine = {}
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, FIRST, LAST, HELD_MAX, ME)) do
  mine[pending[1]] = true
end

local function remember(list)
  if #list == 0 then return end
  redis.call('SADD', BUCKET, unpack(list))
  -- An index of another type is reported by the janitor.
  if WRITES_INDEX == '1' then redis.pcall('ZADD', LEDGERS, now_ms(), BUCKET) end
end

-- Of the outcomes of start jobs the names are written out: the table of names and values costs 0.4 us an entry, and 1.4 us if
-- each entry has one of its own.
local fields = {}
for i = 1, names do fields[2 * i - 1], fields[2 * i] = packed[PACKED_HEAD + i], '' end
local function publish_outcome(v, traced)
  if traced then
    return redis.pcall('XADD', RESULTS, '*', 'game_id', packed[v], 'outcome', packed[v + 1], 'container_id', packed[v + 2],
      'engine_endpoint', packed[v + 3], 'error_code', packed[v + 4], 'error_message', packed[v + 5],
      'source_ref', packed[v + 6], 'requested_at_ms', packed[v + 7], 'finished_at_ms', packed[v + 8],
      'attempt', packed[v + 9], 'traceparent', packed[v + 10])
  end
  if names > 0 then
    for i = 1, names do fields[2 * i] = packed[v + i - 1] end
    return redis.pcall('XADD', RESULTS, '*', unpack(fields))
  end
  if outcome_values == ORIGINAL_FIELDS then
    return redis.pcall('XADD', RESULTS, '*', 'game_id', packed[v], 'outcome', packed[v + 1], 'container_id', packed[v + 2],
      'engine_endpoint', packed[v + 3], 'error_code', packed[v + 4], 'error_message', packed[v + 5])
  end
  return redis.pcall('XADD', RESULTS, '*', 'game_id', packed[v], 'outcome', packed[v + 1], 'container_id', packed[v + 2],
    'engine_endpoint', packed[v + 3], 'error_code', packed[v + 4], 'error_message', packed[v + 5],
    'source_ref', packed[v + 6], 'requested_at_ms', packed[v + 7], 'finished_at_ms', packed[v + 8], 'attempt', packed[v + 9])
end

local function publish_dead(h, kept, outcome_id)
  return redis.pcall('XADD', DEAD, 'MAXLEN', '~', DEAD_MAX, '*', 'source_ref', packed[h], 'reason', packed[h + 1],
    'detail', packed[h + 2], 'deliveries', packed[h + 3], 'crashes', packed[h + 4], 'failures', packed[h + 5],
    'dead_at_ms', packed[h + 6], 'consumer', packed[h + 7], 'outcome_id', outcome_id,
    unpack(packed, h + DEAD_HEAD + 1, h + DEAD_HEAD + kept))
end

local function publish(id, values, traced, head, kept)
  if not values then return publish_dead(head, kept, '') end
  local outcome = publish_outcome(values, traced)
  if head and not outcome.err then
    -- From here on the outcome is published: the ledger must say so before anything else can be refused.
    remember({ id })
    return publish_dead(head, kept, outcome)
  end
  return outcome
end

local put_back = false
local last_generated = nil
-- What to do with an entry that is not in this consumer's pending list: `publish`, or a status.
local function judge_absent(id, is_settled)
  local pending = redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1]
  if pending then return pending[2] == ME and 'publish' or 'lost' end
  if is_settled then return 'dup' end
  -- Above all that the stream has ever had: Redis has lost the job in a failover, and an outcome would answer nothing.
  if compare_ids(id, delivered) > 0 then
    if not last_generated then
      local _, last = probe({})
      last_generated = last
    end
    if compare_ids(id, last_generated) > 0 then return 'unknown' end
  end
  if tonumber((id_parts(id))) >= now_ms() - tonumber(LEDGER_TTL) then return 'publish' end
  if compare_ids(id, delivered) <= 0 and probe({ id })[id] then
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'FORCE', 'JUSTID')
    put_back = true
  end
  return 'expired'
end

-- An outcome without its dead letter would look like one that needs none. 6.2 cannot be asked.
if DEAD_MAX ~= '' and redis.acl_check_cmd and not redis.acl_check_cmd('XADD', DEAD, '*', 'reason', '') then
  return redis.error_reply('NOPERM the dead-letter stream ' .. DEAD .. ' may not be written')
end
-- A write that changes nothing, once the bucket has it, but needs the same right as the later one: with an outcome published
-- and the ledger refused, the entry would be published again and again.
redis.call('SADD', BUCKET, '-')
local at, first = before_ids + 1 + count, 1
-- Nearly always every entry is ours, new and answered: no more is done for each than must be. What is refused here is tried
-- and told below.
while first <= count and mine[ids[first]] and settled[first] == 0 do
  local verb, traced = packed[at], 0
  if verb == 'traced_outcome' then traced = 1 elseif verb ~= 'outcome' then break end
  if publish_outcome(at + 1, traced == 1).err then break end
  at, first = at + 1 + outcome_values + traced, first + 1
end
local statuses, all_ok, published, acknowledge, error_text = {}, true, ids, ids, nil
if first <= count then
  published, acknowledge = {}, {}
  for i = 1, first - 1 do published[i], acknowledge[i], statuses[i] = ids[i], ids[i], 'ok' end
end
for position = first, count do
  local id, verb = ids[position], packed[at]
  local values, traced, head, kept
  at = at + 1
  if verb == 'traced_outcome' or verb == 'traced_both' then
    verb, traced = string.sub(verb, 8), true
  end
  if verb == 'outcome' or verb == 'both' then values, at = at, at + outcome_values + (traced and 1 or 0) end
  if verb == 'dead' or verb == 'both' then
    head, kept = at, tonumber(packed[at + DEAD_HEAD])
    at = at + DEAD_HEAD + 1 + kept
  end

  local is_settled, status = settled[position] == 1, nil
  if error_text then
    status = 'skipped'
  else
    local verdict = mine[id] and 'publish' or judge_absent(id, is_settled)
    if verdict ~= 'publish' then
      status = verdict
    elseif is_settled or verb == 'known' then
      status = is_settled and 'dup' or 'lost'
      if is_settled then acknowledge[#acknowledge + 1] = id end
    else
      local reply = publish(id, values, traced, head, kept)
      if reply.err then
        -- Where it is the first write that has been refused, the key is named.
        local refused = #published == 0 and not put_back and refusal()
        if refused then return refused end
        error_text = reply.err
        status = reply.err
      else
        status = 'ok'
        published[#published + 1] = id
        acknowledge[#acknowledge + 1] = id
      end
    end
  end
  all_ok = all_ok and status == 'ok'
  statuses[position] = status
end

remember(published)
local acknowledged = 0
if #acknowledge > 0 then
  acknowledged = redis.call('XACK', JOBS, GROUP, unpack(acknowledge))
  if has_attempts then
    local fields = {}
    for i, id in ipairs(acknowledge) do
      local last = 7 * i
      fields[last - 6], fields[last - 5], fields[last - 4] = id, 'age:' .. id, 'alone:' .. id
      fields[last - 3], fields[last - 2] = 'excused:' .. id, 'handed:' .. id
      fields[last - 1], fields[last] = 'cancel:' .. id, 'retry:' .. id
    end
    redis.call('HDEL', ATTEMPTS, unpack(fields))
  end
end
-- Looking for the watermark copies two payloads. With nothing pending any more it is known; it stays where it is while an
-- entry before all of this batch is pending, because the mirror followed from that entry before; but not where the group has been
-- set back behind it.
local known, oldest
if not put_back and acknowledged == pending_before then
  known = delivered
elseif not put_back then
  oldest = redis.call('XPENDING', JOBS, GROUP, '-', '+', 1)[1]
  if oldest and held and held == shadow and id_parts(held) and compare_ids(oldest[1], FIRST) < 0
    and compare_ids(held, oldest[1]) < 0 and compare_ids(held, delivered) <= 0 then
    known = held
  end
end
local move, mark, foreign = write_mirror(delivered, held, shadow, known, oldest)
return { move, mark, foreign, delivered, all_ok and {} or statuses }
