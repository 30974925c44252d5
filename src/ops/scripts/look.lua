-- The whole fleet in one look: everything that is compared with each other is seen in one step. Writes nothing.
--
-- Answers JSON; what does not exist is left out. A key that holds another type is in `types` and else left alone.
local GROUP = unpack(ARGV)
local PAUSE_FIELDS_MAX, OTHER_GROUPS_MAX = 100, 10
local PENDING_MAX, GIVEN_BACK_MAX, GIVEN_BACK_IDLE_MS = 20000, 1000, 3600000

local time = redis.call('TIME')
local look = { now_ms = time[1] * 1000 + math.floor(time[2] / 1000), types = {}, results = 0, dead = 0 }
for _, key in ipairs(KEYS) do
  local held = redis.call('TYPE', key)
  look.types[key] = held.ok or held
end

local function is(key, expected) return look.types[key] == expected end

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- Ids are pairs of unsigned 64-bit numbers, Lua's numbers are doubles: padded digits compare as the numbers do.
local function padded(id)
  local ms, seq = string.match(id, '^0*(%d+)%-0*(%d+)$')
  if not ms then ms, seq = string.match(id, '^0*(%d+)$'), '0' end
  if not ms or #ms > 20 or #seq > 20 then return nil end
  return string.rep('0', 20 - #ms) .. ms .. '-' .. string.rep('0', 20 - #seq) .. seq
end

if is(MIRROR, 'string') then look.mirror = redis.call('GET', MIRROR) end
if is(SHADOW, 'string') then look.shadow = redis.call('GET', SHADOW) end
if is(VERIFIED, 'string') then look.verified = redis.call('GET', VERIFIED) end
if is(RESULTS, 'stream') then look.results = redis.call('XLEN', RESULTS) end
if is(DEAD, 'stream') then look.dead = redis.call('XLEN', DEAD) end

-- A stream whose last id is the largest there is takes no entry any more. Of our own streams only the entry shows it;
-- the jobs stream tells its last id, which outlives the entry.
local LARGEST = '18446744073709551615-18446744073709551615'
local exhausted = {}
local function exhaust(key) exhausted[#exhausted + 1] = key; look.exhausted = exhausted end
for _, key in ipairs({ RESULTS, DEAD }) do
  if is(key, 'stream') and #redis.call('XRANGE', key, LARGEST, LARGEST) > 0 then exhaust(key) end
end

if is(REPLICAS, 'hash') then look.replicas = by_name(redis.call('HGETALL', REPLICAS)) end
-- A pause without fields holds every group. So does one with more fields than any pause has: they are not looked at.
if not is(PAUSED, 'none') then
  local is_pause = is(PAUSED, 'hash') and redis.call('HLEN', PAUSED) <= PAUSE_FIELDS_MAX
  look.paused = is_pause and by_name(redis.call('HGETALL', PAUSED)) or {}
end

-- How many jobs back off, and when the first is tried again, is at the front of what each replica says. Not more digits than
-- JSON keeps.
if is(OPEN, 'hash') and look.replicas then
  look.open = {}
  for name in pairs(look.replicas) do
    local record = redis.call('HGET', OPEN, name)
    local at, count = string.match(record or '', '^(%d+) (%d+) %[')
    if at and #at <= 14 and #count <= 9 then
      local next_in = string.match(record, '"next_in_ms":(%d+)')
      look.open[name] = { at_ms = tonumber(at), backing_off = tonumber(count),
        next_in_ms = next_in and #next_in <= 14 and tonumber(next_in) or nil }
    end
  end
end
if not is(JOBS, 'stream') then return cjson.encode(look) end

local info = by_name(redis.call('XINFO', 'STREAM', JOBS))
if info['last-generated-id'] == LARGEST then exhaust(JOBS) end
local first, last = info['first-entry'], info['last-entry']
look.stream = {
  length = info['length'],
  -- 7.0 and later.
  entries_added = info['entries-added'],
  last_generated = info['last-generated-id'],
  first = first and first[1] or nil,
  last = last and last[1] or nil,
}
for _, flat in ipairs(redis.call('XINFO', 'GROUPS', JOBS)) do
  local fields = by_name(flat)
  if fields['name'] == GROUP then
    look.group = {
      delivered = fields['last-delivered-id'],
      entries_read = fields['entries-read'] or nil,
      lag = fields['lag'] or nil,
    }
  elseif not look.other_groups or #look.other_groups < OTHER_GROUPS_MAX then
    look.other_groups = look.other_groups or {}
    table.insert(look.other_groups, fields['name'])
  end
end

-- Where the group is missing it will begin at the mirror, or at the start if the mirror lies past the stream's end.
local after = look.group and look.group.delivered
if not after then
  local mirror = look.mirror and padded(look.mirror)
  after = mirror and mirror <= padded(info['last-generated-id']) and look.mirror or '0-0'
end
look.after = after
local waiting = redis.pcall('XRANGE', JOBS, '(' .. after, '+', 'COUNT', 1)
if not waiting.err and waiting[1] then look.oldest_waiting = waiting[1][1] end

if look.group then
  local pending = redis.call('XPENDING', JOBS, GROUP)
  look.pending = { count = pending[1], by = {} }
  -- What was given back seems to be untouched for an hour, which nothing else is while a fleet runs. In a very long list they are
  -- not looked for.
  if pending[1] > 0 and pending[1] <= PENDING_MAX then
    local rows = redis.call('XPENDING', JOBS, GROUP, 'IDLE', GIVEN_BACK_IDLE_MS, '-', '+', GIVEN_BACK_MAX)
    look.pending.given_back = #rows
  end
  for _, holder in ipairs(pending[4] or {}) do look.pending.by[holder[1]] = tonumber(holder[2]) end
  local oldest = pending[2]
  if oldest then
    look.pending.oldest = oldest
    -- The largest id that exists below the oldest pending one. The head first: XREVRANGE below the first node of a
    -- trimmed stream walks the whole stream.
    if first and padded(first[1]) < padded(oldest) then
      look.pending.below = redis.call('XREVRANGE', JOBS, '(' .. oldest, '-', 'COUNT', 1)[1][1]
    end
  end
end
return cjson.encode(look)
