-- What every script of the group shares: ids, types, the group, the mirror. In front of it is the header that Rust writes: the
-- names of the keys, and the numbers and words that both sides use. Behind it are, as far as a script needs them, the
-- bookkeeping and what belongs to one consumer, then the script itself: Redis runs all of it for every call, and a settle of
-- one entry pays for each function that is defined.
--
-- Redis runs a script as one step but never rolls it back: whatever can be refused is checked before the first write,
-- and XADD always stands before XACK.
local GROUP = unpack(ARGV, 1, 1)

-- 6.2 with `lua-replicate-commands no` refuses writes after TIME without this; later versions ignore it.
if redis.replicate_commands then redis.replicate_commands() end

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

-- What the stream holds, told without copying a payload: the set of those `ids` whose entries exist, and the largest id there
-- has ever been (`0-0` where there is no stream). XRANGE and XINFO STREAM copy every byte of the entries they answer, which
-- takes half a second for 64 entries of 1 MiB. A group of its own, which lives for this moment, costs 0.1 ms for 64 ids of
-- any size: XCLAIM with FORCE adds an entry to its pending list only where the stream has it, on every version, and the real
-- group's records stay as they are.
local function probe(ids)
  local found, last, failed = {}, '0-0', nil
  -- First the command that older rights lack, before there is a group to leave behind; an error may have left one.
  local opened = redis.pcall('XGROUP', 'DESTROY', JOBS, PROBE)
  if type(opened) ~= 'table' then opened = redis.pcall('XGROUP', 'CREATE', JOBS, PROBE, '$') end
  if opened.err then
    if redis.call('EXISTS', JOBS) == 0 then return found, last end
    -- Refused by the rights, or because there is no memory: the payloads are copied after all.
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

-- The exact low watermark: the largest id such that it and every id before it are settled. It is an id that exists
-- (or the group's last-delivered one), so no predecessor arithmetic is needed. nil and the oldest pending id where
-- nothing exists below that. `oldest` is the oldest pending entry where the script knows it already, `held` what the mirror
-- holds.
local function watermark(delivered, oldest, held)
  oldest = oldest or redis.call('XPENDING', JOBS, GROUP, '-', '+', 1)[1]
  if not oldest then return delivered end
  -- XREVRANGE below the first node of a trimmed stream walks the whole stream, so something has to be there. The entry of the
  -- mirror is asked for first: it moves on, while the head stays the same one, however large its payload is to copy.
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

-- Sets mirror and shadow to the watermark, always together. Answers the move (`same`, `raised`, `lowered`), the
-- watermark, and what the mirror held where somebody else had written it (else ''). What the script knows already it may
-- say: `held` and `shadow` are what the two hold, `mark` is the watermark, `oldest_pending` is what it follows from.
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
