-- What every script of the group shares: keys, ids, types, the group, the mirror. Each script is this text, then for all
-- but the settle script the bookkeeping, then its own: Redis runs all of it for every call, and a settle of one entry
-- pays for each function that is defined.
--
-- Redis runs a script as one step but never rolls it back: whatever can be refused is checked before the first write,
-- and XADD always stands before XACK.

-- 6.2 with `lua-replicate-commands no` refuses writes after TIME without this; later versions ignore it.
if redis.replicate_commands then redis.replicate_commands() end

local JOBS, RESULTS, DEAD, MIRROR, SHADOW, ATTEMPTS, LEDGERS, SWEEP, REPLICAS, VERIFIED, LEDGER = unpack(KEYS)
-- The settle script has its ledger bucket in the eighth place, and none behind it.
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

-- The group's last-delivered id and how many entries are pending; nil and Redis's words where stream or group are
-- missing or of another type.
local function last_delivered()
  local groups = redis.pcall('XINFO', 'GROUPS', JOBS)
  if groups.err then return nil, groups.err end
  for _, group in ipairs(groups) do
    -- Every version so far has these first: name, consumers, pending, last-delivered-id.
    if group[2] == GROUP and group[5] == 'pending' and group[7] == 'last-delivered-id' then return group[8], group[6] end
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == GROUP then return fields['last-delivered-id'], fields['pending'] end
  end
  return nil, 'NOGROUP no consumer group ' .. GROUP .. ' on ' .. JOBS
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
-- watermark, and what the mirror held where somebody else had written it (else ''). What the script knows already it may
-- say: `held` and `shadow` are what the two hold, `mark` is the watermark.
local function write_mirror(delivered, held, shadow, mark)
  if not held then held, shadow = unpack(redis.call('MGET', MIRROR, SHADOW)) end
  local current = held and id_parts(held) and held or nil
  local oldest
  if not mark then mark, oldest = watermark(delivered) end
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
