-- The claim script before runs were taken by XAUTOCLAIM: one XCLAIM for each entry. It is kept, whole and without its comments, as
-- the model that the claim script has to equal. Do not change it with the script.
if redis.replicate_commands then redis.replicate_commands() end
local JOBS, RESULTS, DEAD, MIRROR, SHADOW, ATTEMPTS, LEDGERS, SWEEP, REPLICAS, VERIFIED = unpack(KEYS)
local GROUP, ME = ARGV[1], ARGV[2]
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function id_parts(id)
  local ms, seq = string.match(id, '^0*(%d+)%-0*(%d+)$')
  if not ms then ms, seq = string.match(id, '^0*(%d+)$'), '0' end
  return ms, seq
end
local function compare_digits(a, b)
  if a == b then return 0 end
  if #a ~= #b then return #a < #b and -1 or 1 end
  return a < b and -1 or 1
end
local function compare_ids(a, b)
  local a_ms, a_seq = id_parts(a)
  local b_ms, b_seq = id_parts(b)
  local order = compare_digits(a_ms, b_ms)
  if order ~= 0 then return order end
  return compare_digits(a_seq, b_seq)
end
local function wrong_type(key, expected)
  local held = redis.call('TYPE', key)
  held = held.ok or held
  if held ~= 'none' and held ~= expected then
    return redis.error_reply('KEYTYPE ' .. key .. ' holds a ' .. held .. ' where a ' .. expected .. ' is expected')
  end
end
local function last_delivered()
  local groups = redis.pcall('XINFO', 'GROUPS', JOBS)
  if groups.err then return nil, groups.err end
  for _, group in ipairs(groups) do
    if group[2] == GROUP and group[5] == 'pending' and group[7] == 'last-delivered-id' then return group[8], group[6] end
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == GROUP then return fields['last-delivered-id'], fields['pending'] end
  end
  return nil, 'NOGROUP no consumer group ' .. GROUP .. ' on ' .. JOBS
end
local PROBE = 'startjobs:probe'
local function probe(ids)
  local found, last, failed = {}, '0-0', nil
  local opened = redis.pcall('XGROUP', 'DESTROY', JOBS, PROBE)
  if type(opened) ~= 'table' then opened = redis.pcall('XGROUP', 'CREATE', JOBS, PROBE, '$') end
  if opened.err then
    if redis.call('EXISTS', JOBS) == 0 then return found, last end
    for _, id in ipairs(ids) do found[id] = #redis.call('XRANGE', JOBS, id, id) > 0 or nil end
    local info = redis.call('XINFO', 'STREAM', JOBS)
    for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
    return found, last
  end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', JOBS)) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == PROBE then last = fields['last-delivered-id'] end
  end
  for first = 1, #ids, 1000 do
    local command = { 'XCLAIM', JOBS, PROBE, 'probe', 0, unpack(ids, first, math.min(first + 999, #ids)) }
    command[#command + 1] = 'FORCE'
    command[#command + 1] = 'JUSTID'
    local claimed = redis.pcall(unpack(command))
    failed = failed or claimed.err
    for _, id in ipairs(claimed) do found[id] = true end
  end
  redis.call('XGROUP', 'DESTROY', JOBS, PROBE)
  if failed then error(failed, 0) end
  return found, last
end
local function watermark(delivered, oldest, held)
  oldest = oldest or redis.call('XPENDING', JOBS, GROUP, '-', '+', 1)[1]
  if not oldest then return delivered end
  local is_there = held and id_parts(held) and compare_ids(held, oldest[1]) < 0
    and #redis.call('XRANGE', JOBS, held, held) > 0
  if not is_there then
    local head = redis.call('XRANGE', JOBS, '-', '+', 'COUNT', 1)[1]
    if not head or compare_ids(head[1], oldest[1]) >= 0 then return nil, oldest[1] end
  end
  local below = redis.call('XREVRANGE', JOBS, '(' .. oldest[1], '-', 'COUNT', 1)[1][1]
  if compare_ids(below, delivered) > 0 then return delivered end
  return below
end
local function write_mirror(delivered, held, shadow, mark, oldest_pending)
  if not held then held, shadow = unpack(redis.call('MGET', MIRROR, SHADOW)) end
  local current = held and id_parts(held) and held or nil
  local oldest
  if not mark then mark, oldest = watermark(delivered, oldest_pending, current) end
  if not mark then mark = current and compare_ids(current, oldest) < 0 and current or '0-0' end
  local foreign = held and shadow and held ~= shadow and held or ''
  if held == mark and shadow == mark then return 'same', mark, foreign end
  redis.call('MSET', MIRROR, mark, SHADOW, mark)
  local move = 'raised'
  if current then
    local order = compare_ids(mark, current)
    move = order == 0 and 'same' or order < 0 and 'lowered' or 'raised'
  end
  return move, mark, foreign
end
local LEDGER = JOBS .. ':ledger:'
local HOURS_MAX = 64
local declared = {}
for position = 11, #KEYS do declared[KEYS[position]] = true end
local function hour_of(id)
  return string.format('%.0f', math.floor(tonumber((id_parts(id))) / 3600000))
end
local function ledger_bucket(id)
  local hour = hour_of(id)
  if not declared[LEDGER .. hour] then error('NEEDKEYS ' .. hour, 0) end
  return LEDGER .. hour
end
local function undeclared(ids, hours)
  local missing, named = {}, {}
  local function need(hour)
    if not declared[LEDGER .. hour] and not named[hour] and #missing < HOURS_MAX then
      named[hour] = true
      missing[#missing + 1] = hour
    end
  end
  for _, hour in ipairs(hours or {}) do need(hour) end
  for _, id in ipairs(ids) do need(hour_of(id)) end
  if #missing > 0 then return redis.error_reply('NEEDKEYS ' .. table.concat(missing, ' ')) end
end
local function by_bucket(ids)
  local buckets = {}
  for _, id in ipairs(ids) do
    local bucket = ledger_bucket(id)
    local members = buckets[bucket]
    if not members then members = {}; buckets[bucket] = members end
    members[#members + 1] = id
  end
  return buckets
end
local function each_thousand(list, call)
  for first = 1, #list, 1000 do call(unpack(list, first, math.min(first + 999, #list))) end
end
local function in_ledger(ids)
  local known = {}
  for bucket, members in pairs(by_bucket(ids)) do
    local position = 0
    each_thousand(members, function(...)
      for _, is_member in ipairs(redis.call('SMISMEMBER', bucket, ...)) do
        position = position + 1
        if is_member == 1 then known[members[position]] = true end
      end
    end)
  end
  return known
end
local function add_to_ledger(ids)
  if #ids == 0 then return end
  local now = now_ms()
  for bucket, members in pairs(by_bucket(ids)) do
    each_thousand(members, function(...) redis.call('SADD', bucket, ...) end)
    redis.call('ZADD', LEDGERS, now, bucket)
  end
end
local function parse_presence(value)
  local seen, state = string.match(value, '^(%d+) (%a+) ')
  if not seen then return nil end
  local claim_idle = string.match(value, '"claim_idle_ms":(%d+)')
  return { seen = tonumber(seen), state = state, claim_idle = tonumber(claim_idle), text = value }
end
local function presence_record(consumer)
  local value = redis.call('HGET', REPLICAS, consumer)
  return value and parse_presence(value)
end
local function presence_member(presence, name)
  return tonumber(string.match(presence.text, '"' .. name .. '":(%d+)'))
end
local function is_fresh(presence, now, claim_idle)
  local length = presence.claim_idle or claim_idle
  return presence.state ~= 'left' and presence.seen + length > now and presence.seen <= now + length
end
local function watching_since(own, now, claim_idle)
  local since = own and presence_member(own, 'since_ms')
  if not since or own.seen > now or since > now then return now end
  local late = 3 * (now - own.seen - claim_idle * 5 / 12)
  if late <= 0 then return since end
  return math.max(since, math.floor(now - math.max(claim_idle - late, 0)))
end
local function attempts_of(id)
  local value = redis.call('HGET', ATTEMPTS, id)
  if not value then return 0, 0, 0 end
  local crashes, failures, since = string.match(value, '^(%d+) (%d+) (%d+)$')
  return tonumber(crashes) or 0, tonumber(failures) or 0, tonumber(since) or 0
end
local function write_attempts(id, crashes, failures, since)
  redis.call('HSET', ATTEMPTS, id, string.format('%d %d %.0f', crashes, failures, since))
end
local function forget_attempts(ids)
  if #ids == 0 or redis.call('EXISTS', ATTEMPTS) == 0 then return end
  local fields = {}
  for _, id in ipairs(ids) do
    fields[#fields + 1] = id
    fields[#fields + 1] = 'alone:' .. id
    fields[#fields + 1] = 'excused:' .. id
    fields[#fields + 1] = 'age:' .. id
  end
  each_thousand(fields, function(...) redis.call('HDEL', ATTEMPTS, ...) end)
end
local claim_idle, interval, want = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local mode, dead_max, holds_nothing = ARGV[6], ARGV[7], ARGV[8] == '1'
local HANDED_BACK_IDLE = 3600000
local WINDOW, WINDOWS_MAX = 640, 8
local SUSPECT_CRASHES, EXCUSED_MAX = 2, 10
local DEATHS_MAX = 32
local NOTHING = { 'swept', {}, 0, {}, 0 }
local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(DEAD, 'stream') or wrong_type(LEDGERS, 'zset') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string')
if refused then return refused end
local now = now_ms()
local own = presence_record(ME)
if not own or own.seen + claim_idle < now then return { 'not-due' } end
local since = watching_since(own, now, claim_idle)
local sweep = {}
do
  local names = { 'due', 'by', 'cursor', 'alone_by', 'alone_until', 'suspect' }
  for i, value in ipairs(redis.call('HMGET', SWEEP, unpack(names))) do sweep[names[i]] = value end
end
local wants_suspect = mode == 'alone' or mode == 'another'
local due = tonumber(sweep.due or '0') or 0
local is_due = now >= due or due > now + 2 * interval
if not is_due and not wants_suspect and not (mode == 'take' and sweep.by == ME) then return { 'not-due' } end
local records = { [ME] = own }
local function record_of(consumer)
  local record = records[consumer]
  if record == nil then
    record = presence_record(consumer) or false
    records[consumer] = record
  end
  return record
end
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
local function verdict_on(pending)
  local idle, owner = tonumber(pending[3]), record_of(pending[2])
  if pending[2] == ME then return idle >= HANDED_BACK_IDLE and 'forsaken' or nil end
  if not owner then
    if idle >= HANDED_BACK_IDLE then return 'forsaken' end
    return idle >= claim_idle and now - since >= claim_idle and 'died' or nil
  end
  if owner.state == 'left' then return 'left' end
  local behind = owner.seen - (now - idle)
  if idle >= HANDED_BACK_IDLE and behind >= HANDED_BACK_IDLE / 2 then return 'forsaken' end
  local length = math.max(owner.claim_idle or claim_idle, claim_idle)
  local heard = owner.seen > now + length and since or math.max(owner.seen, since)
  if now - heard >= length then return 'died' end
  if idle >= length and behind >= length then return 'forsaken' end
end
local function died_with_many(pending)
  local owner, all = record_of(pending[2]), whole_fleet()
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
local function candidate_of(pending, verdict)
  local id, owner = pending[1], pending[2]
  local crashes, failures, first_failed = attempts_of(id)
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
local function verdicts_on(window)
  local verdicts, asked = {}, {}
  for i, pending in ipairs(window) do
    verdicts[i] = verdict_on(pending) or false
    if verdicts[i] == 'forsaken' and tonumber(pending[3]) < HANDED_BACK_IDLE then asked[#asked + 1] = pending[1] end
  end
  if #asked == 0 then return verdicts end
  local there = probe(asked)
  for i, pending in ipairs(window) do
    if verdicts[i] == 'forsaken' and tonumber(pending[3]) < HANDED_BACK_IDLE and not there[pending[1]] then
      verdicts[i] = false
    end
  end
  return verdicts
end
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
        candidates[#candidates + 1] = candidate
      end
      cursor = pending[1]
    end
    if #window < WINDOW then return cursor, true end
    if #candidates > 0 then break end
  end
  return cursor, false
end
redis.call('XCLAIM', JOBS, GROUP, ME, 0, '0-0', 'JUSTID')
local function text(number) return string.format('%.0f', number) end
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
  if mode == 'alone' or not is_keeper then
    local hint = sweep.suspect
    if not hint or not id_parts(hint) then hint = '-' end
    local _, reached_end = look_from(hint)
    if not suspect and hint ~= '-' and reached_end then look_from('-') end
  end
  candidates = { suspect }
  refused = look_at_payloads()
  if refused then return refused end
  if sweep.alone_by == ME then redis.call('HSET', SWEEP, 'alone_until', 0) end
  if not suspect then return NOTHING end
  redis.call('HSET', SWEEP, 'suspect', suspect.id)
else
  local start = sweep.cursor
  if not start or not id_parts(start) then start = '-' end
  local cursor, reached_end = look_from(start)
  if mode == 'look' and #candidates > 0 then
    redis.call('HSET', SWEEP, 'due', text(now + interval), 'by', ME)
    return { 'found' }
  end
  refused = look_at_payloads()
  if refused then return refused end
  redis.call('HSET', SWEEP, 'due', text(full and now or now + interval), 'by', ME,
    'cursor', reached_end and '-' or cursor)
  if #candidates == 0 and suspect then
    local is_keeper, is_only = keeper()
    local alone_until = tonumber(sweep.alone_until or '0') or 0
    local is_our_turn = sweep.alone_by == ME or alone_until <= now or alone_until > now + claim_idle
    if holds_nothing or (is_our_turn and (is_only or not is_keeper)) then
      if not holds_nothing then
        redis.call('HSET', SWEEP, 'alone_by', ME, 'alone_until', text(now + claim_idle))
      end
      return { 'suspects' }
    end
    redis.call('HSET', SWEEP, 'due', text(now))
  end
  if #candidates == 0 then return NOTHING end
end
local claimed, owners, crashed = {}, {}, 0
for _, candidate in ipairs(candidates) do
  local id = candidate.id
  owners[candidate.owner] = owners[candidate.owner] or 0
  if found[id] then
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'RETRYCOUNT', candidate.count + 1, 'JUSTID')
    if candidate.crashed then
      write_attempts(id, candidate.crashes, candidate.failures, candidate.since)
      crashed = crashed + 1
    end
    if candidate.excused then redis.call('HSET', ATTEMPTS, 'excused:' .. id, candidate.excused) end
    if wants_suspect then redis.call('HSET', ATTEMPTS, 'alone:' .. id, ME) end
    owners[candidate.owner] = owners[candidate.owner] + 1
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
for owner, count in pairs(owners) do
  if count > 0 then from[#from + 1] = { owner, count } end
  local record = record_of(owner)
  if record and record.state == 'left' and #redis.call('XPENDING', JOBS, GROUP, '-', '+', 1, owner) == 0 then
    redis.pcall('XGROUP', 'DELCONSUMER', JOBS, GROUP, owner)
  end
end
return { 'swept', claimed, #lost, from, crashed }
