-- The claim sweep: takes over the entries of owners that died, left or gave them back. One sweep in the fleet per
-- interval.
--
-- Looks at a bounded window of the pending list from the fleet's cursor on, and takes an entry only after seeing that
-- its payload exists: XAUTOCLAIM and XCLAIM of 7.0 and later drop the pending record of a deleted entry, even if a
-- living replica holds it, and with it the only trace that a replica still works on it.
--
-- Who is dead: an owner that has not renewed for its own claim idle, as seen by a judge that has itself renewed without
-- a gap for as long. Idle times alone prove nothing, because they also grow while Redis is away and when its clock is
-- set forward. And, at once, an owner whose subscription has ended, as `watch.lua` describes.
--
-- CLAIM_IDLE and INTERVAL (of sweeps): in ms; WANT: entries at most; MODE: `watch` (declares who is dead, takes nothing), `look`
-- (the same, and is there anything to take?), `take`, `alone` (one suspect, after `suspects` was answered) or `another` (one
-- more, after one has ended); HOLDS_NOTHING: `1` where this replica holds nothing; GRACE: in ms, 0 where deaths are not noticed
-- by subscriptions; GENERATION: of this replica's subscription, 0 where there is none at the moment; CRASH_BUDGET: crashes
-- beyond which an entry is condemned.
-- Answers: state (`not-due`; `dead`: this replica has been declared dead; `found`: there is something for `take`; `suspects`:
-- there is something for `alone`, and it is for this replica; `swept`), the ms until the fleet's next sweep is due, then
-- what it learned of deaths { who was declared dead, the number of owners found silent, of crashes counted, of crashes
-- withdrawn }, then the claimed entries {id, deliveries, crashes, failures, dead owner or ''}, whose payloads the caller reads
-- by itself, the number found lost, and the previous owners with how many entries each had.
local CLAIM_IDLE, INTERVAL, WANT, MODE, DEAD_MAX, HOLDS_NOTHING, GRACE, GENERATION, CRASH_BUDGET = unpack(ARGV, 3)
local claim_idle, interval, want = tonumber(CLAIM_IDLE), tonumber(INTERVAL), tonumber(WANT)
local WINDOW, WINDOWS_MAX = 640, 8
local grace, generation, crash_budget = tonumber(GRACE), tonumber(GENERATION), tonumber(CRASH_BUDGET)
local holds_nothing = HOLDS_NOTHING == '1'
may_ask = grace > 0

-- The ms until the next sweep, and what this one learned of deaths.
local again, declared, silent, crashed, withdrawn = interval, {}, 0, 0, 0
local function answer(state, claimed, lost, from)
  local left = string.format('%.0f', math.max(0, again))
  return { state, left, { declared, silent, crashed, withdrawn }, claimed or {}, lost or 0, from or {} }
end

local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(DEAD, 'stream') or wrong_type(LEDGERS, 'zset') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string')
if refused then return refused end

local now = now_ms()
local own = presence_of(ME)
if own and own.state == 'dead' then return answer('dead') end
-- A late call of a replica that has left takes nothing either.
if not own or own.state == 'left' or own.seen + claim_idle < now then return answer('not-due') end
local since = watching_since(own, now, claim_idle)

local sweep = {}
do
  local names = { 'due', 'by', 'cursor', 'alone_by', 'alone_until', 'suspect', 'watch_due', 'noted', 'reconsider_due' }
  for i, value in ipairs(redis.call('HMGET', SWEEP, unpack(names))) do sweep[names[i]] = value end
end
local wants_suspect = MODE == 'alone' or MODE == 'another'
local function text(number) return string.format('%.0f', number) end

-- The ms until this is due. A time further ahead than two intervals was written before the server's clock went back.
local function left_until(due)
  local left = (tonumber(due or '0') or 0) - now
  return left > 2 * interval and 0 or math.max(left, 0)
end
local sweep_left, watch_left = left_until(sweep.due), grace > 0 and left_until(sweep.watch_due) or interval
local is_due = MODE ~= 'watch' and (sweep_left == 0 or wants_suspect or (MODE == 'take' and sweep.by == ME))
if not is_due and watch_left > 0 then
  again = math.min(watch_left, MODE == 'watch' and interval or sweep_left)
  return answer('not-due')
end

-- As long as there are provisional counts it is asked again who died together, often enough for each of them to be asked about
-- when those that fell silent at the same moment have been silent for half a claim idle.
local reconsider_due = tonumber(sweep.reconsider_due or '0') or 0
local function reconsider_later()
  local due = next(recent_charges(now, claim_idle)) and now + 0.4 * claim_idle or 0
  if due ~= reconsider_due then redis.call('HSET', SWEEP, 'reconsider_due', text(due)) end
  reconsider_due = due
end

local dead = {}
if grace > 0 then
  local known, notes = holders(now, claim_idle, grace), nil
  dead = known.dead
  if watch_left == 0 or sweep_left == 0 then
    declared, notes, watch_left = look_at_subscriptions(known, sweep.noted, now, interval, grace, generation)
    if notes then redis.call('HSET', SWEEP, 'watch_due', text(now + watch_left)) end
    if notes and notes ~= (sweep.noted or '') then redis.call('HSET', SWEEP, 'noted', notes) end
    if #declared > 0 or (reconsider_due > 0 and now >= reconsider_due) then
      withdrawn = reconsider(now, claim_idle)
      reconsider_later()
    end
  end
end
again = watch_left
if MODE == 'watch' then
  -- What the dead held is there for the next that has room. Some of it may have to wait, for an empty replica or for silence: of
  -- that this one is told once an interval.
  local is_found = #declared > 0 or (#dead > 0 and sweep_left == 0)
  if is_found then redis.call('HSET', SWEEP, 'due', text(now)) end
  return answer(is_found and 'found' or 'swept')
end
if not is_due and #declared == 0 then
  again = math.min(again, sweep_left)
  return answer('swept')
end
again = math.min(again, interval)

-- The replica that keeps serving ordinary jobs while the others run suspects; and whether it is the only one there.
local function keeper()
  local first, count = ME, 1
  for _, presence in ipairs(whole_fleet()) do
    if presence.name ~= ME and is_serving(presence, now, claim_idle) then
      count = count + 1
      if presence.name < first then first = presence.name end
    end
  end
  return first == ME, count == 1
end

-- May this entry change hands? `left`, `died`, `disconnected` (its owner is declared dead and has not been silent for claim
-- idle yet), `forsaken` (its owner lives, has given it back or does not renew it any
-- more), or nothing. An owner renews itself and all that it holds in one step, so an entry that lies further back than
-- its owner's last renewal is not held any more, whatever the clock did since.
local function verdict_on(pending)
  local idle, owner = tonumber(pending[3]), presence_of(pending[2])
  -- What this replica has given back it may take again. What it has held for too long to renew it is for others; what it does
  -- not hold, its renewal finds.
  if pending[2] == ME then return idle >= GIVEN_BACK_IDLE_MS and 'forsaken' or nil end
  if not owner then
    if idle >= GIVEN_BACK_IDLE_MS then return 'forsaken' end
    return idle >= claim_idle and now - since >= claim_idle and 'died' or nil
  end
  if owner.state == 'left' then return 'left' end
  local behind = owner.seen - (now - idle)
  if idle >= GIVEN_BACK_IDLE_MS and behind >= GIVEN_BACK_IDLE_MS / 2 then return 'forsaken' end
  -- The judge's own claim idle too: it cannot tell a shorter silence from a gap between its own renewals.
  local length = math.max(owner.claim_idle or claim_idle, claim_idle)
  local heard = owner.seen > now + length and since or math.max(owner.seen, since)
  if now - heard >= length then return 'died' end
  if owner.state == 'dead' then return 'disconnected' end
  if idle >= length and behind >= length then return 'forsaken' end
end

local has_attempts = redis.call('EXISTS', ATTEMPTS) == 1
-- Has the sweep left a suspect to the replica for which it is reserved?
local is_another_expected = false
-- What a claim of this entry would count; false where it is not to be claimed now, nil where the sweep has asked about as many
-- deaths as it may.
local function candidate_of(pending, verdict)
  local id, owner = pending[1], pending[2]
  local crashes, failures, first_failed = 0, 0, 0
  if has_attempts then crashes, failures, first_failed = attempts_of(id) end
  local candidate = { id = id, owner = owner, count = pending[4], crashes = crashes, failures = failures,
    since = first_failed, verdict = verdict }
  local has_died = verdict == 'died' or verdict == 'disconnected'
  if crashes >= SUSPECT_CRASHES and not has_died then
    local reserved = reserved_for(id, pending[4], now, claim_idle)
    if reserved and reserved ~= ME then
      is_another_expected = true
      return false
    end
    candidate.is_reserved = reserved == ME
  end
  if not has_died or (crashes >= SUSPECT_CRASHES and not wants_suspect) then return candidate end
  local presence = presence_of(owner)
  local seen = presence and presence.seen or now - tonumber(pending[3])
  local has_cause = has_cause_outside(id, owner, seen, owner, now, claim_idle)
  if has_cause == nil then return nil end
  if has_cause and excuses_of(id) < EXCUSED_MAX then
    candidate.is_excused = true
    return candidate
  end
  if crashes < SUSPECT_CRASHES or redis.call('HGET', ATTEMPTS, 'alone:' .. id) == owner then
    if verdict == 'disconnected' and crashes + 1 > crash_budget then return false end
    candidate.crashes, candidate.is_counted = crashes + 1, true
  end
  return candidate
end

-- What of a window may change hands. An entry without payload cannot be renewed (XCLAIM would drop its record), so it
-- looks forsaken while its owner works on it. An owner that lives settles it; only where a read's reply was lost does
-- no replica, and an hour ends that.
local function verdicts_on(window)
  local verdicts, asked = {}, {}
  for i, pending in ipairs(window) do
    verdicts[i] = verdict_on(pending) or false
    if verdicts[i] == 'forsaken' and tonumber(pending[3]) < GIVEN_BACK_IDLE_MS then asked[#asked + 1] = pending[1] end
  end
  if #asked == 0 then return verdicts end
  local there = probe(asked)
  for i, pending in ipairs(window) do
    if verdicts[i] == 'forsaken' and tonumber(pending[3]) < GIVEN_BACK_IDLE_MS and not there[pending[1]] then
      verdicts[i] = false
    end
  end
  return verdicts
end

-- Takes up what of a window may change hands. Answers the last entry looked at, where it got to it, and whether there is
-- room for more.
local candidates, suspect, full = {}, nil, false
local function look_through(window, has_places)
  local verdicts, last = verdicts_on(window), nil
  for i, pending in ipairs(window) do
    local candidate = verdicts[i] and candidate_of(pending, verdicts[i])
    if candidate == nil then
      full = true
      return last, false
    elseif candidate and candidate.crashes >= SUSPECT_CRASHES then
      suspect = suspect or candidate
      if wants_suspect then return last, false end
    elseif candidate and not wants_suspect then
      if #candidates == want then
        full = true
        return last, false
      end
      candidate.position = has_places and i or nil
      candidates[#candidates + 1] = candidate
    end
    last = pending[1]
  end
  return last, true
end

-- What the dead hold, however deep in the pending list it lies.
local function look_at_dead()
  local windows = 0
  for _, owner in ipairs(dead) do
    local from = '-'
    repeat
      if windows == WINDOWS_MAX then return end
      windows = windows + 1
      local window = redis.call('XPENDING', JOBS, GROUP, from, '+', WINDOW, owner)
      local last, has_room = look_through(window, false)
      if not has_room then return end
      from = '(' .. (last or '')
    until #window < WINDOW
  end
end

-- Windows of the pending list from `start` on, until there is something to claim: a few of them, because what they
-- cost is time of the whole fleet. Answers the last entry looked at, and whether that was the last of all. All candidates
-- are of one window, and know their places in it.
local function look_from(start)
  local cursor = start
  for _ = 1, WINDOWS_MAX do
    local window = redis.call('XPENDING', JOBS, GROUP, cursor == '-' and '-' or '(' .. cursor, '+', WINDOW)
    local last, has_room = look_through(window, true)
    cursor = last or cursor
    if not has_room then return cursor, false end
    if #window < WINDOW then return cursor, true end
    if #candidates > 0 then break end
  end
  return cursor, false
end

-- What may be refused is asked for before the first write: a count without its claim would count one crash again and
-- again.
redis.call('XCLAIM', JOBS, GROUP, ME, 0, '0-0', 'JUSTID')

-- What of the candidates exists. The rest is lost, and a dead letter without its ledger entry would be written again and
-- again. Of the lost, what was answered before and is pending again (the group went back) is only acknowledged.
local found, lost, answered_before, lost_count = {}, {}, {}, 0
local function look_at_payloads()
  local ids = {}
  for _, candidate in ipairs(candidates) do ids[#ids + 1] = candidate.id end
  if #ids == 0 then return end
  found = probe(ids)
  -- An owner that lives after all settles what has no payload any more; what its death would make of it cannot be taken back.
  local stay = {}
  for _, candidate in ipairs(candidates) do
    if found[candidate.id] then
      stay[#stay + 1] = candidate
    elseif candidate.verdict ~= 'disconnected' then
      stay[#stay + 1] = candidate
      lost[#lost + 1] = candidate.id
    end
  end
  candidates = stay
  local refusal = undeclared(lost)
  if refusal and (#declared > 0 or withdrawn > 0) then
    -- Who was declared dead, and what was withdrawn, is told first.
    lost, candidates = {}, {}
    return nil
  end
  if refusal or #lost == 0 then return refusal end
  for _, id in ipairs(lost) do
    refusal = wrong_type(ledger_bucket(id), 'set')
    if refusal then return refusal end
  end
  for _, id in ipairs(lost) do redis.call('SADD', ledger_bucket(id), '-') end
  redis.call('ZADD', LEDGERS, 'XX', 0, '-')
  redis.call('XACK', JOBS, GROUP, '0-0')
  answered_before = in_ledger(lost)
end

if wants_suspect then
  local is_keeper = keeper()
  if MODE == 'alone' or not is_keeper then
    local hint = sweep.suspect
    look_at_dead()
    if not hint or not id_parts(hint) then hint = '-' end
    if not suspect then
      local _, reached_end = look_from(hint)
      if not suspect and hint ~= '-' and reached_end then look_from('-') end
    end
  end
  candidates = { suspect }
  refused = look_at_payloads()
  if refused then return refused end
  suspect = candidates[1]
  -- The turn to become empty is the next one's.
  if sweep.alone_by == ME then redis.call('HSET', SWEEP, 'alone_until', 0) end
  if not suspect then return answer('swept') end
  redis.call('HSET', SWEEP, 'suspect', suspect.id)
else
  local start = sweep.cursor
  if not start or not id_parts(start) then start = '-' end
  local cursor, reached_end = start, false
  look_at_dead()
  if #candidates == 0 and not full then cursor, reached_end = look_from(start) end
  if MODE == 'look' and #candidates > 0 then
    redis.call('HSET', SWEEP, 'due', text(now + interval), 'by', ME)
    return answer('found')
  end
  refused = look_at_payloads()
  if refused then return refused end
  -- At the end of the list the next sweep begins at the front again. One that found as many as it wanted is followed
  -- at once, by a replica that has free slots.
  redis.call('HSET', SWEEP, 'due', text(full and now or now + interval), 'by', ME,
    'cursor', reached_end and '-' or cursor)
  if #candidates == 0 and suspect then
    -- A replica that holds nothing may run a suspect now; of the others one at a time makes itself empty, but never
    -- the keeper while there are others.
    local is_keeper, is_only = keeper()
    local alone_until = tonumber(sweep.alone_until or '0') or 0
    local is_our_turn = sweep.alone_by == ME or alone_until <= now or alone_until > now + claim_idle
    if holds_nothing or (is_our_turn and (is_only or not is_keeper or suspect.is_reserved)) then
      if not holds_nothing then
        redis.call('HSET', SWEEP, 'alone_by', ME, 'alone_until', text(now + claim_idle))
      end
      return answer('suspects')
    end
    -- For the next that asks.
    redis.call('HSET', SWEEP, 'due', text(now))
  end
  -- The same where a suspect is reserved for another.
  if #candidates == 0 and is_another_expected then redis.call('HSET', SWEEP, 'due', text(now)) end
  if #candidates == 0 then return answer('swept') end
end

-- Runs are taken by XAUTOCLAIM: entries that lie next to each other in the pending list, all of them candidates with a payload.
-- The list has not changed since it was looked through, so min-idle 0 and COUNT take exactly these. With JUSTID no payload
-- is copied, however large. Where the rights lack the command, XCLAIM takes the entries of runs too.
local function take_runs()
  local function continues(last, following)
    return following and last.position and following.position == last.position + 1 and found[following.id]
  end
  local first = 1
  while first <= #candidates do
    local last = first
    while found[candidates[first].id] and continues(candidates[last], candidates[last + 1]) do last = last + 1 end
    if last > first then
      local taken = redis.pcall('XAUTOCLAIM', JOBS, GROUP, ME, 0, candidates[first].id, 'COUNT', last - first + 1, 'JUSTID')
      if taken.err then return end
    end
    first = last + 1
  end
end

-- XCLAIM takes what is not in a run, and raises the delivery count of all, which JUSTID leaves as it is: one call for
-- the entries of one count.
local function take()
  take_runs()
  local by_count = {}
  for _, candidate in ipairs(candidates) do
    if found[candidate.id] then
      local ids = by_count[candidate.count] or {}
      ids[#ids + 1] = candidate.id
      by_count[candidate.count] = ids
    end
  end
  for count, ids in pairs(by_count) do
    each_thousand(ids, function(...)
      local command = { 'XCLAIM', JOBS, GROUP, ME, 0, ... }
      for _, option in ipairs({ 'RETRYCOUNT', count + 1, 'JUSTID' }) do command[#command + 1] = option end
      redis.call(unpack(command))
    end)
  end
end

take()
local claimed, owners, charged = {}, {}, {}
for _, candidate in ipairs(candidates) do
  local id, owner = candidate.id, candidate.owner
  owners[owner] = owners[owner] or { count = 0 }
  if candidate.verdict == 'died' then owners[owner].is_silent = true end
  if found[id] then
    if candidate.is_counted then
      write_attempts(id, candidate.crashes, candidate.failures, candidate.since)
      crashed = crashed + 1
      if candidate.verdict == 'disconnected' then
        charged[owner] = charged[owner] or {}
        table.insert(charged[owner], id)
      end
    end
    if candidate.is_excused then excuse(id) end
    if wants_suspect then redis.call('HSET', ATTEMPTS, 'alone:' .. id, ME) end
    owners[owner].count = owners[owner].count + 1
    local has_died = candidate.verdict == 'died' or candidate.verdict == 'disconnected'
    claimed[#claimed + 1] = { id, candidate.count + 1, candidate.crashes, candidate.failures, has_died and owner or '' }
  end
end
for owner, ids in pairs(charged) do charge(owner, ids, now) end
if next(charged) and reconsider_due == 0 then
  charges = nil
  reconsider_later()
end
for _, candidate in ipairs(candidates) do
  if not found[candidate.id] and not answered_before[candidate.id] then
    lost_count = lost_count + 1
    redis.call('XADD', DEAD, 'MAXLEN', '~', DEAD_MAX, '*', 'source_ref', candidate.id, 'reason', 'entry_lost',
      'detail', 'the payload was deleted from the stream while the entry was pending', 'deliveries', candidate.count,
      'crashes', candidate.crashes, 'failures', candidate.failures, 'dead_at_ms', text(now),
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
for owner, taken in pairs(owners) do
  if taken.count > 0 then from[#from + 1] = { owner, taken.count } end
  local record = presence_of(owner)
  if record and record.state == 'left' and #redis.call('XPENDING', JOBS, GROUP, '-', '+', 1, owner) == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', JOBS, GROUP, owner)
  elseif record and taken.is_silent and record.state ~= 'dead' and not presence_member(record, 'lost_ms') then
    write_presence(owner, (string.gsub(record.text, '{', '{"lost_ms":' .. text(now) .. ',', 1)))
    silent = silent + 1
  end
end
if silent > 0 then
  withdrawn = withdrawn + reconsider(now, claim_idle)
  reconsider_later()
end
return answer('swept', claimed, lost_count, from)
