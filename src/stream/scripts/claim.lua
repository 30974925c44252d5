-- The claim sweep: takes over entries that nobody has touched for claim idle. One sweep in the fleet per interval.
--
-- Looks at a bounded window of the pending list from the fleet's cursor on, and takes an entry only after seeing that
-- its payload exists: XAUTOCLAIM and XCLAIM of 7.0 and later drop the pending record of a deleted entry whoever holds
-- it, and with it the only trace that somebody still works on it.
--
-- Suspects (entries that two or more processes died with) are claimed only in mode `alone`, one at a time, by a replica
-- that holds nothing else: whatever they do to it, they do to nobody beside them. One replica in the fleet at a time
-- makes itself empty for that.
--
-- ARGV: group, me, claim idle in ms, sweep interval in ms, at most this many, mode (`look`, `take`, `alone`), dead-max.
-- Answers: state (`not-due`; `found`: there is something for `take`; `suspects`: there is something for `alone`, and
-- it is this replica's turn; `swept`), then the claimed entries {id, deliveries, crashes, failures}, whose
-- payloads the caller reads by itself, the
-- number found lost, and the previous owners with how many entries each had.
local claim_idle, interval, want = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local mode, dead_max = ARGV[6], ARGV[7]
local HANDED_BACK_IDLE = 3600000
local WINDOW, WINDOWS_MAX = 640, 8
local SUSPECT_CRASHES = 2

local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(DEAD, 'stream') or wrong_type(LEDGERS, 'zset') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string')
if refused then return refused end

local now = now_ms()
-- While the server stood still nobody could renew: with our own presence expired nobody's says anything.
local own_seen = presence_of(ME)
if not own_seen or own_seen + claim_idle < now then return { 'not-due' } end

local sweep = {}
do
  local names = { 'due', 'by', 'cursor', 'alone_by', 'alone_until', 'suspect' }
  for i, value in ipairs(redis.call('HMGET', SWEEP, unpack(names))) do sweep[names[i]] = value end
end
local due = tonumber(sweep.due or '0') or 0
local alone_until = tonumber(sweep.alone_until or '0') or 0
local our_turn_alone = alone_until <= now or sweep.alone_by == ME
-- A due time further ahead than two intervals was written before the server's clock went back.
local is_due = now >= due or due > now + 2 * interval
if mode == 'alone' and sweep.alone_by ~= ME then return { 'not-due' } end
if not is_due and mode ~= 'alone' and not (mode == 'take' and sweep.by == ME) then return { 'not-due' } end

local function died_with_it(pending)
  local owner, idle = pending[2], tonumber(pending[3])
  if owner == ME or idle >= HANDED_BACK_IDLE then return false end
  local seen, state = presence_of(owner)
  return state ~= 'left' and (not seen or seen + claim_idle <= now)
end

local function candidate_of(pending)
  local crashes, failures, since = attempts_of(pending[1])
  local died = died_with_it(pending)
  return { id = pending[1], owner = pending[2], count = pending[4], died = died,
    crashes = crashes + (died and 1 or 0), failures = failures, since = since }
end

-- An entry without payload cannot be renewed (XCLAIM would drop its record), so it looks idle while its owner works on
-- it. An owner that is present settles it; only where a read's reply was lost does nobody, and an hour ends that.
local function is_left_to_owner(pending)
  if tonumber(pending[3]) >= HANDED_BACK_IDLE then return false end
  -- What this replica has held for too long to renew it is for others; what it does not hold, its renewal finds.
  if pending[2] == ME then return true end
  local seen, state = presence_of(pending[2])
  return seen and seen + claim_idle > now and state ~= 'left' and not probe({ pending[1] })[pending[1]]
end

-- Windows of the pending list from the cursor on, until there is something to claim: a few of them, because what they
-- cost is everybody's time.
local candidates, suspect, full, reached_end = {}, nil, false, false
local cursor = sweep.cursor
if not cursor or not id_parts(cursor) then cursor = '-' end
local function look_through(window)
  for _, pending in ipairs(window) do
    if tonumber(pending[3]) >= claim_idle and not is_left_to_owner(pending) then
      local candidate = candidate_of(pending)
      if candidate.crashes >= SUSPECT_CRASHES then
        suspect = suspect or candidate
      elseif #candidates == want then
        full = true
        return
      else
        candidates[#candidates + 1] = candidate
      end
    end
    cursor = pending[1]
  end
end
if mode == 'alone' then
  local pending = sweep.suspect and redis.call('XPENDING', JOBS, GROUP, sweep.suspect, sweep.suspect, 1)[1]
  if not pending or tonumber(pending[3]) < claim_idle or is_left_to_owner(pending) then return { 'swept', {}, 0, {} } end
  suspect = candidate_of(pending)
else
  for _ = 1, WINDOWS_MAX do
    local window = redis.call('XPENDING', JOBS, GROUP, cursor == '-' and '-' or '(' .. cursor, '+', WINDOW)
    look_through(window)
    reached_end = not full and #window < WINDOW
    if reached_end or #candidates > 0 then break end
  end
end

-- Everything that can be refused is refused before the first write; the buckets are needed for what is lost alone.
local found, lost = {}, {}
do
  local ids = {}
  for _, candidate in ipairs(mode == 'alone' and { suspect } or candidates) do ids[#ids + 1] = candidate.id end
  if mode ~= 'look' and #ids > 0 then found = probe(ids) end
  for _, id in ipairs(ids) do
    if mode ~= 'look' and not found[id] then lost[#lost + 1] = id end
  end
  refused = undeclared(lost)
  if refused then return refused end
  for _, id in ipairs(lost) do
    refused = wrong_type(ledger_bucket(id), 'set')
    if refused then return refused end
  end
end

if mode == 'look' and #candidates > 0 then
  redis.call('HSET', SWEEP, 'due', string.format('%.0f', now + interval), 'by', ME)
  return { 'found' }
end
if mode == 'alone' then
  redis.call('HSET', SWEEP, 'alone_until', string.format('%.0f', now + claim_idle))
  candidates = { suspect }
else
  -- At the end of the list the next sweep begins at the front again. One that found as many as it wanted is followed
  -- at once, by whoever has free slots.
  redis.call('HSET', SWEEP, 'due', string.format('%.0f', full and now or now + interval), 'by', ME,
    'cursor', reached_end and '-' or cursor)
  if #candidates == 0 and suspect and our_turn_alone then
    redis.call('HSET', SWEEP, 'alone_by', ME, 'alone_until', string.format('%.0f', now + claim_idle),
      'suspect', suspect.id)
    return { 'suspects' }
  end
  if #candidates == 0 then return { 'swept', {}, 0, {} } end
end
local claimed, owners = {}, {}
-- A neutral write: where the ledger cannot be written, nothing is dead-lettered either.
for _, id in ipairs(lost) do redis.call('SADD', ledger_bucket(id), '-') end
for _, candidate in ipairs(candidates) do
  local id = candidate.id
  if found[id] then
    if candidate.died then write_attempts(id, candidate.crashes, candidate.failures, candidate.since) end
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'RETRYCOUNT', candidate.count + 1, 'JUSTID')
    owners[candidate.owner] = (owners[candidate.owner] or 0) + 1
    claimed[#claimed + 1] = { id, candidate.count + 1, candidate.crashes, candidate.failures }
  else
    redis.call('XADD', DEAD, 'MAXLEN', '~', dead_max, '*', 'source_ref', id, 'reason', 'entry_lost',
      'detail', 'the payload was deleted from the stream while the entry was pending', 'deliveries', candidate.count,
      'crashes', candidate.crashes, 'failures', candidate.failures, 'dead_at_ms', string.format('%.0f', now),
      'consumer', candidate.owner, 'outcome_id', '')
  end
end
if #lost > 0 then
  add_to_ledger(lost)
  redis.call('XACK', JOBS, GROUP, unpack(lost))
  forget_attempts(lost)
  local delivered = last_delivered()
  if delivered then write_mirror(delivered) end
end
local from = {}
for owner, count in pairs(owners) do from[#from + 1] = { owner, count } end
return { 'swept', claimed, #lost, from }
