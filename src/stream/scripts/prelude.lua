-- What every script of the group shares. Each script is this text followed by its own.
--
-- Redis runs a script as one step but never rolls it back: whatever can be refused is checked before the first write,
-- and XADD always stands before XACK.

-- 6.2 with `lua-replicate-commands no` refuses writes after TIME without this; later versions ignore it.
if redis.replicate_commands then redis.replicate_commands() end

local JOBS, RESULTS, DEAD, MIRROR, SHADOW, ATTEMPTS, LEDGERS, SWEEP, REPLICAS, VERIFIED, LEDGER = unpack(KEYS)
local GROUP, ME = ARGV[1], ARGV[2]

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Entry ids are pairs of unsigned 64-bit numbers, and Lua's numbers are doubles: compare digits, never values.
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

-- nil, or the refusal for a key that holds something else than `expected`.
local function wrong_type(key, expected)
  local held = redis.call('TYPE', key)
  held = held.ok or held
  if held ~= 'none' and held ~= expected then
    return redis.error_reply('KEYTYPE ' .. key .. ' holds a ' .. held .. ' where a ' .. expected .. ' is expected')
  end
end

-- The group's last-delivered id; nil and Redis's words where stream or group are missing or of another type.
local function last_delivered()
  local groups = redis.pcall('XINFO', 'GROUPS', JOBS)
  if groups.err then return nil, groups.err end
  for _, group in ipairs(groups) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == GROUP then return fields['last-delivered-id'] end
  end
  return nil, 'NOGROUP no consumer group ' .. GROUP .. ' on ' .. JOBS
end

-- The ledger: ids that are settled, in SETs by the hour of the id, so that one lookup finds an id.
local function ledger_bucket(id)
  return LEDGER .. string.format('%.0f', math.floor(tonumber((id_parts(id))) / 3600000))
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

local function exists(id)
  return #redis.call('XRANGE', JOBS, id, id) > 0
end

-- The exact low watermark: the largest id such that it and every id before it are settled. It is an id that exists
-- (or the group's last-delivered one), so no predecessor arithmetic is needed. nil and the oldest pending id where
-- nothing exists below that.
local function watermark(delivered)
  local oldest = redis.call('XPENDING', JOBS, GROUP, '-', '+', 1)[1]
  if not oldest then return delivered end
  -- Looking at the head first: XREVRANGE below the first node of a trimmed stream walks the whole stream.
  local head = redis.call('XRANGE', JOBS, '-', '+', 'COUNT', 1)[1]
  if not head or compare_ids(head[1], oldest[1]) >= 0 then return nil, oldest[1] end
  local below = redis.call('XREVRANGE', JOBS, '(' .. oldest[1], '-', 'COUNT', 1)[1][1]
  if compare_ids(below, delivered) > 0 then return delivered end
  return below
end

-- Sets mirror and shadow to the watermark, always together. Answers the move (`same`, `raised`, `lowered`), the
-- watermark, and what the mirror held where somebody else had written it (else ''). `held` and `shadow` are what the two
-- hold, where the script has read them.
local function write_mirror(delivered, held, shadow)
  if not held then held, shadow = unpack(redis.call('MGET', MIRROR, SHADOW)) end
  local current = held and id_parts(held) and held or nil
  local mark, oldest = watermark(delivered)
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

-- Presence: `<last seen, server ms> <state> <JSON about the replica>` by consumer name.
local function be_present(state, about)
  redis.call('HSET', REPLICAS, ME, string.format('%.0f', now_ms()) .. ' ' .. state .. ' ' .. about)
end

local function presence_of(consumer)
  local value = redis.call('HGET', REPLICAS, consumer)
  if not value then return nil end
  local seen, state = string.match(value, '^(%d+) (%a+) ')
  return tonumber(seen), state
end

-- Attempts of one entry: `<crashes> <service failures> <server ms of the first delivery that failed, 0: none>`.
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
  if #ids > 0 and redis.call('EXISTS', ATTEMPTS) == 1 then
    each_thousand(ids, function(...) redis.call('HDEL', ATTEMPTS, ...) end)
  end
end
