-- What the scripts of the group share about what is written down beside it: ledger, presence, attempts. Stands behind
-- the prelude, in every script but the settle script.

-- The ledger: ids that are settled, in SETs by the hour of the id, so that one lookup finds an id. A script touches no key
-- that its caller has not declared, and the caller does not always know the hours: a script that needs more says so before
-- it writes anything, and is called again with those.
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

-- nil where the buckets of all these ids are declared; else what to answer: NEEDKEYS and the hours that are missing, where
-- they are many the first of them. `hours`, if any, are needed too.
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

-- A table of `ids` by bucket, for variadic calls.
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

-- The set of those `ids` that the ledger holds.
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

-- Presence: `<last seen, server ms> <state> <JSON about the replica>` by consumer name. Three members of the JSON say by
-- what the replica judges and is judged: `claim_idle_ms`; `since_ms`, the server time since when it has watched the
-- others without a gap; `born_ms`, the server time of its first renewal.
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

-- Is the replica of this presence there, by its own claim idle? A presence further ahead than that was written before
-- the server's clock went back.
local function is_fresh(presence, now, claim_idle)
  local length = presence.claim_idle or claim_idle
  return presence.state ~= 'left' and presence.seen + length > now and presence.seen <= now + length
end

-- Since when this replica has watched the others without a gap. A silent replica proves nothing where the judge could
-- not have heard it: right after the judge's start, after Redis was away, and after a step of the server's clock.
-- Renewals come every third of claim idle; one that is late by more than a twelfth costs three times that.
local function watching_since(own, now, claim_idle)
  local since = own and presence_member(own, 'since_ms')
  if not since or own.seen > now or since > now then return now end
  local late = 3 * (now - own.seen - claim_idle * 5 / 12)
  if late <= 0 then return since end
  return math.max(since, math.floor(now - math.max(claim_idle - late, 0)))
end

local function be_present(state, about)
  local now, own = now_ms(), presence_record(ME)
  local since = watching_since(own, now, tonumber(string.match(about, '"claim_idle_ms":(%d+)')) or 0)
  local born = math.min(own and presence_member(own, 'born_ms') or now, now)
  local rest = string.sub(about, 2)
  redis.call('HSET', REPLICAS, ME, string.format('%.0f %s {"born_ms":%.0f,"since_ms":%.0f', now, state, born, since)
    .. (rest == '}' and rest or ',' .. rest))
end

-- Makes these entries of ours (a thousand at most) claimable at once; those whose payload is gone stay as they are,
-- because XCLAIM of 7.0 and later would drop their records. The idle time is set to an hour: more would wrap to zero where
-- it exceeds the server's age of the epoch, and an hour tells the claimer that nobody died. Answers how many there were.
local function give_back(ids)
  local there, command = probe(ids), { 'XCLAIM', JOBS, GROUP, ME, 0 }
  local count = 0
  for _, id in ipairs(ids) do
    if there[id] then
      command[#command + 1] = id
      count = count + 1
    end
  end
  if count == 0 then return 0 end
  for _, option in ipairs({ 'IDLE', 3600000, 'JUSTID' }) do command[#command + 1] = option end
  redis.call(unpack(command))
  return count
end

-- The next sweep begins at the front, where what is given back lies, and is due now.
local function make_sweep_due()
  if not wrong_type(SWEEP, 'hash') then redis.call('HSET', SWEEP, 'due', 0, 'cursor', '-') end
end

-- Attempts of one entry: `<crashes> <service failures> <server ms of the first delivery that failed, 0: none>` in the
-- field of its id. Beside it `alone:<id>`: the consumer that runs it with nothing else in hand; and `excused:<id>`: how
-- many of its owners' deaths had a cause outside.
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
