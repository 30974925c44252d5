-- The claim sweep: takes over the entries of owners that died, left or gave them back. One sweep in the fleet per
-- interval.
--
-- Looks at a bounded window of the pending list from the fleet's cursor on, and takes an entry only after seeing that
-- its payload exists: XAUTOCLAIM and XCLAIM of 7.0 and later drop the pending record of a deleted entry whoever holds
-- it, and with it the only trace that a replica still works on it.
--
-- Who is dead: an owner that has not renewed for its own claim idle, as seen by a judge that has itself renewed without
-- a gap for as long. Idle times alone prove nothing, because they also grow while Redis is away and when its clock is
-- set forward.
--
-- What a death counts: one crash for each entry the owner held, as long as the entry stays below suspicion. A suspect
-- (an entry that two or more processes died with) is claimed by a replica that holds nothing else, and from then on only
-- the death of a process that ran it alone counts. Where at least half of the fleet died at one moment the cause lies
-- outside, and the death counts for nothing; ten times for one entry, so that jobs which always kill together are
-- condemned in the end.
--
-- CLAIM_IDLE and INTERVAL (of sweeps): in ms; WANT: entries at most; MODE: `look`, `take`, `alone` (one suspect, after `suspects`
-- was answered) or `another` (one more, after one has ended); HOLDS_NOTHING: `1` where this replica holds nothing.
-- Answers: state (`not-due`; `found`: there is something for `take`; `suspects`: there is something for `alone`, and
-- it is for this replica; `swept`), then the claimed entries {id, deliveries, crashes, failures}, whose
-- payloads the caller reads by itself, the number found lost, the previous owners with how many entries each had, and the
-- number of crashes counted.
local CLAIM_IDLE, INTERVAL, WANT, MODE, DEAD_MAX, HOLDS_NOTHING = unpack(ARGV, 3)
local claim_idle, interval, want = tonumber(CLAIM_IDLE), tonumber(INTERVAL), tonumber(WANT)
local WINDOW, WINDOWS_MAX = 640, 8
local EXCUSED_MAX = 10
-- Of how many dead owners one sweep asks who died with them.
local DEATHS_MAX = 32
local holds_nothing = HOLDS_NOTHING == '1'
local NOTHING = { 'swept', {}, 0, {}, 0 }

local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(DEAD, 'stream') or wrong_type(LEDGERS, 'zset') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string')
if refused then return refused end

local now = now_ms()
local own = presence_of(ME)
if not own or own.seen + claim_idle < now then return { 'not-due' } end
local since = watching_since(own, now, claim_idle)

local sweep = {}
do
  local names = { 'due', 'by', 'cursor', 'alone_by', 'alone_until', 'suspect' }
  for i, value in ipairs(redis.call('HMGET', SWEEP, unpack(names))) do sweep[names[i]] = value end
end
local wants_suspect = MODE == 'alone' or MODE == 'another'
local due = tonumber(sweep.due or '0') or 0
-- A due time further ahead than two intervals was written before the server's clock went back.
local is_due = now >= due or due > now + 2 * interval
if not is_due and not wants_suspect and not (MODE == 'take' and sweep.by == ME) then return { 'not-due' } end

-- Every presence, the longest silent first; asked for only where an owner died or there are suspects.
local fleet
local function whole_fleet()
  if fleet then return fleet end
  fleet = {}
  local flat = redis.call('HGETALL', REPLICAS)
  for i = 1, #flat, 2 do
    local presence = parse_presence(flat[i + 1])
    if presence then
      presence.name = flat[i]
      fleet[#fleet + 1] = presence
    end
  end
  table.sort(fleet, function(a, b) return a.seen < b.seen end)
  return fleet
end

-- The replica that keeps serving ordinary jobs while the others run suspects; and whether it is the only one there.
local function keeper()
  local first, count = ME, 1
  for _, presence in ipairs(whole_fleet()) do
    if presence.name ~= ME and presence.state == 'running' and is_fresh(presence, now, claim_idle)
      and not string.find(presence.text, '"serves":false', 1, true) then
      count = count + 1
      if presence.name < first then first = presence.name end
    end
  end
  return first == ME, count == 1
end

-- May this entry change hands? `left`, `died`, `forsaken` (its owner lives, has given it back or does not renew it any
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
  if idle >= length and behind >= length then return 'forsaken' end
end

-- Did others fall silent with this owner, and were they at least half of the fleet of that moment?
local function died_with_many(pending)
  local owner, all = presence_of(pending[2]), whole_fleet()
  local seen = owner and owner.seen or now - tonumber(pending[3])
  local window = math.max(owner and owner.claim_idle or claim_idle, claim_idle) / 2
  local low, high = 1, #all + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if all[middle].seen < seen - window then low = middle + 1 else high = middle end
  end
  local dead = owner and 0 or 1
  local others = 0
  for i = low, #all do
    local presence = all[i]
    local is_silent = now - presence.seen >= (presence.claim_idle or claim_idle) / 2
    if presence.seen <= seen + window and presence.state ~= 'left' and is_silent then
      dead = dead + 1
    elseif (presence_member(presence, 'born_ms') or 0) <= seen then
      others = others + 1
    end
    if presence.seen > seen + window and (dead < 2 or others > dead) then return false end
    if dead >= 2 and dead >= others + #all - i then return true end
  end
  return false
end

local many, deaths = {}, 0
local has_attempts = redis.call('EXISTS', ATTEMPTS) == 1
-- Nothing where the sweep has asked about as many deaths as it may.
local function candidate_of(pending, verdict)
  local id, owner = pending[1], pending[2]
  local crashes, failures, first_failed = 0, 0, 0
  if has_attempts then crashes, failures, first_failed = attempts_of(id) end
  local candidate = { id = id, owner = owner, count = pending[4], crashes = crashes, failures = failures,
    since = first_failed }
  if verdict ~= 'died' or (crashes >= SUSPECT_CRASHES and not wants_suspect) then return candidate end
  if many[owner] == nil then
    if deaths == DEATHS_MAX then return nil end
    deaths = deaths + 1
    many[owner] = died_with_many(pending)
  end
  if many[owner] then
    local excused = tonumber(redis.call('HGET', ATTEMPTS, 'excused:' .. id) or '0') or 0
    if excused < EXCUSED_MAX then
      candidate.excused = excused + 1
      return candidate
    end
  end
  if crashes < SUSPECT_CRASHES or redis.call('HGET', ATTEMPTS, 'alone:' .. id) == owner then
    candidate.crashes, candidate.crashed = crashes + 1, true
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

-- Windows of the pending list from `start` on, until there is something to claim: a few of them, because what they
-- cost is time of the whole fleet. Answers the last entry looked at, and whether that was the last of all. All candidates
-- are of one window, and know their places in it.
local candidates, suspect, full = {}, nil, false
local function look_from(start)
  local cursor = start
  for _ = 1, WINDOWS_MAX do
    local window = redis.call('XPENDING', JOBS, GROUP, cursor == '-' and '-' or '(' .. cursor, '+', WINDOW)
    local verdicts = verdicts_on(window)
    for i, pending in ipairs(window) do
      local candidate = verdicts[i] and candidate_of(pending, verdicts[i])
      if candidate == nil then
        full = true
        return cursor, false
      elseif candidate and candidate.crashes >= SUSPECT_CRASHES then
        suspect = suspect or candidate
        if wants_suspect then return cursor, false end
      elseif candidate and not wants_suspect then
        if #candidates == want then
          full = true
          return cursor, false
        end
        candidate.position = i
        candidates[#candidates + 1] = candidate
      end
      cursor = pending[1]
    end
    if #window < WINDOW then return cursor, true end
    if #candidates > 0 then break end
  end
  return cursor, false
end

-- What may be refused is asked for before the first write: a count without its claim would count one crash again and
-- again.
redis.call('XCLAIM', JOBS, GROUP, ME, 0, '0-0', 'JUSTID')
local function text(number) return string.format('%.0f', number) end

-- What of the candidates exists. The rest is lost, and a dead letter without its ledger entry would be written again and
-- again.
local found, lost = {}, {}
local function look_at_payloads()
  local ids = {}
  for _, candidate in ipairs(candidates) do ids[#ids + 1] = candidate.id end
  if #ids == 0 then return end
  found = probe(ids)
  for _, id in ipairs(ids) do
    if not found[id] then lost[#lost + 1] = id end
  end
  local refusal = undeclared(lost)
  if refusal or #lost == 0 then return refusal end
  for _, id in ipairs(lost) do
    refusal = wrong_type(ledger_bucket(id), 'set')
    if refusal then return refusal end
  end
  for _, id in ipairs(lost) do redis.call('SADD', ledger_bucket(id), '-') end
  redis.call('ZADD', LEDGERS, 'XX', 0, '-')
  redis.call('XACK', JOBS, GROUP, '0-0')
end

if wants_suspect then
  local is_keeper = keeper()
  if MODE == 'alone' or not is_keeper then
    local hint = sweep.suspect
    if not hint or not id_parts(hint) then hint = '-' end
    local _, reached_end = look_from(hint)
    if not suspect and hint ~= '-' and reached_end then look_from('-') end
  end
  candidates = { suspect }
  refused = look_at_payloads()
  if refused then return refused end
  -- The turn to become empty is the next one's.
  if sweep.alone_by == ME then redis.call('HSET', SWEEP, 'alone_until', 0) end
  if not suspect then return NOTHING end
  redis.call('HSET', SWEEP, 'suspect', suspect.id)
else
  local start = sweep.cursor
  if not start or not id_parts(start) then start = '-' end
  local cursor, reached_end = look_from(start)
  if MODE == 'look' and #candidates > 0 then
    redis.call('HSET', SWEEP, 'due', text(now + interval), 'by', ME)
    return { 'found' }
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
    if holds_nothing or (is_our_turn and (is_only or not is_keeper)) then
      if not holds_nothing then
        redis.call('HSET', SWEEP, 'alone_by', ME, 'alone_until', text(now + claim_idle))
      end
      return { 'suspects' }
    end
    -- For the next that asks.
    redis.call('HSET', SWEEP, 'due', text(now))
  end
  if #candidates == 0 then return NOTHING end
end

-- Runs are taken by XAUTOCLAIM: entries that lie next to each other in the pending list, all of them candidates with a payload.
-- The list has not changed since it was looked through, so min-idle 0 and COUNT take exactly these. With JUSTID no payload
-- is copied, however large. Where the rights lack the command, XCLAIM takes the entries of runs too.
local function take_runs()
  local function continues(last, following)
    return following and following.position == last.position + 1 and found[following.id]
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
local claimed, owners, crashed = {}, {}, 0
for _, candidate in ipairs(candidates) do
  local id = candidate.id
  owners[candidate.owner] = owners[candidate.owner] or 0
  if found[id] then
    if candidate.crashed then
      write_attempts(id, candidate.crashes, candidate.failures, candidate.since)
      crashed = crashed + 1
    end
    if candidate.excused then redis.call('HSET', ATTEMPTS, 'excused:' .. id, candidate.excused) end
    if wants_suspect then redis.call('HSET', ATTEMPTS, 'alone:' .. id, ME) end
    owners[candidate.owner] = owners[candidate.owner] + 1
    claimed[#claimed + 1] = { id, candidate.count + 1, candidate.crashes, candidate.failures }
  end
end
for _, candidate in ipairs(candidates) do
  if not found[candidate.id] then
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
for owner, count in pairs(owners) do
  if count > 0 then from[#from + 1] = { owner, count } end
  local record = presence_of(owner)
  if record and record.state == 'left' and #redis.call('XPENDING', JOBS, GROUP, '-', '+', 1, owner) == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', JOBS, GROUP, owner)
  end
end
return { 'swept', claimed, #lost, from, crashed }
