-- What the scripts of the group share about what is written down beside it: ledger and attempts. It follows the prelude in
-- every script but the settle script.

-- The ledger: ids that are settled, in SETs by the hour of the id, so that one lookup finds an id. A script touches no key
-- that its caller has not declared, and the caller does not always know the hours: a script that needs more says so before
-- it writes anything, and is called again with those.
local LEDGER = JOBS .. LEDGER_SUFFIX
local declared = {}
for position = SHARED_KEYS + 1, #KEYS do declared[KEYS[position]] = true end

local function hour_of(id)
  return string.format('%.0f', math.floor(tonumber((id_parts(id))) / HOUR_MS))
end

local function ledger_bucket(id)
  local hour = hour_of(id)
  if not declared[LEDGER .. hour] then error(NEED_KEYS .. hour, 0) end
  return LEDGER .. hour
end

-- nil where the buckets of all these ids are declared; else what to answer: NEEDKEYS and the hours that are missing, where
-- they are many the first of them. `hours`, if any, are needed too.
local function undeclared(ids, hours)
  local missing, named = {}, {}
  local function need(hour)
    if not declared[LEDGER .. hour] and not named[hour] and #missing < NEED_KEYS_MAX then
      named[hour] = true
      missing[#missing + 1] = hour
    end
  end
  for _, hour in ipairs(hours or {}) do need(hour) end
  for _, id in ipairs(ids) do need(hour_of(id)) end
  if #missing > 0 then return redis.error_reply(NEED_KEYS .. table.concat(missing, ' ')) end
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

-- Attempts of one entry: `<crashes> <service failures> <server ms of the first delivery that failed, 0: none>` in the
-- field of its id. Beside it `alone:<id>`: the consumer that runs it with nothing else in hand; and `excused:<id>`: how
-- many of its owners' deaths had a cause outside; and `handed:<id>`, of entries that were handed over; and
-- `cancel:<id>` and `retry:<id>`, the marks of operators (marks.lua). And by consumer `charges:<consumer>`: the entries for which a crash was
-- counted when it was declared dead, as `<ms> <id> <id>...`; and `drain:<consumer>`, where an operator wants it to drain (marks.lua).
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
    fields[#fields + 1] = 'handed:' .. id
    fields[#fields + 1] = 'cancel:' .. id
    fields[#fields + 1] = 'retry:' .. id
  end
  each_thousand(fields, function(...) redis.call('HDEL', ATTEMPTS, ...) end)
end

-- The entries that are charged to this consumer.
local function charges_of(consumer)
  local ids = {}
  local listed = redis.call('HGET', ATTEMPTS, 'charges:' .. consumer)
  for id in string.gmatch(listed or '', '%d+%-%d+') do ids[#ids + 1] = id end
  return ids
end

-- Takes one crash of an entry back. Answers false where none is written down: it is settled meanwhile.
local function take_back(id)
  local crashes, failures, since = attempts_of(id)
  if crashes == 0 then return false end
  write_attempts(id, crashes - 1, failures, since)
  return true
end
