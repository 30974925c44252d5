-- What was done since the last call, added to the minute and the hour that run, as pairs of a name and a number. Every few
-- seconds, for the whole fleet, also what the server says of the stream.
--
-- A slot's value is `<version> <minute or hour since 1970> <name>=<number> <name>=<number>...`. Numbers add up, and of those whose
-- name begins with `max_` the larger one stays. A value of another time, of another version or damaged is replaced.
local function counts_of(value, number)
  local counts = {}
  if not value or #value > VALUE_MAX then return counts end
  local found, words = string.match(value, '^' .. VALUE_VERSION .. ' (%d+)(.*)$')
  if found ~= number then return counts end
  if string.gsub(words, ' [%l%d_.]+=%d+', '') ~= '' then return counts end
  for name, count in string.gmatch(words, ' ([%l%d_.]+)=(%d+)') do
    local many = tonumber(count)
    if many > 1e15 then return {} end
    counts[name] = many
  end
  return counts
end

local function add_to_slot(key, kept, number, told)
  local slot = string.format('%d', number % kept)
  local name_of_time = string.format('%.0f', number)
  local counts = counts_of(redis.call('HGET', key, slot) or nil, name_of_time)
  for name, count in pairs(told) do
    local before = counts[name] or 0
    counts[name] = string.sub(name, 1, 4) == 'max_' and math.max(before, count) or math.min(before + count, 1e15)
  end
  local words = { VALUE_VERSION .. ' ' .. name_of_time }
  for name, count in pairs(counts) do words[#words + 1] = string.format('%s=%.0f', name, count) end
  redis.call('HSET', key, slot, table.concat(words, ' '))
end

local function by_name(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- How many entries wait; nil where that cannot be told without counting them.
local function waiting_of(stream, group)
  local first, last = stream['first-entry'], stream['last-entry']
  if not first or not last then return 0 end
  local delivered = group['last-delivered-id']
  if compare_ids(last[1], delivered) <= 0 then return 0 end
  if compare_ids(first[1], delivered) > 0 then return stream['length'] end
  return group['lag'] or nil
end

-- What the stream has now, once in LOOK_MS: how many entries were appended since the last look, which 6.2 does not count, and
-- how many wait and are pending.
local function look(now, told)
  local at, before = string.match(redis.call('HGET', MINUTES, 'look') or '', '^(%d+) (%d*)$')
  at = tonumber(at)
  if at and at <= now and now - at < LOOK_MS then return end
  local stream, groups = redis.pcall('XINFO', 'STREAM', JOBS), redis.pcall('XINFO', 'GROUPS', JOBS)
  if stream.err or groups.err then return end
  stream = by_name(stream)
  local added = stream['entries-added']
  if added and before ~= '' and before then told['sent'] = math.max(added - tonumber(before), 0) end
  redis.call('HSET', MINUTES, 'look', string.format('%.0f %s', now, added and string.format('%.0f', added) or ''))
  for _, flat in ipairs(groups) do
    local group = by_name(flat)
    if group['name'] == GROUP then
      told['max_in_flight'] = group['pending']
      told['max_waiting'] = waiting_of(stream, group)
    end
  end
end

local function tell_tally(tally)
  local now, told = now_ms(), {}
  for i = 1, #tally, 2 do told[tally[i]] = tonumber(tally[i + 1]) end
  look(now, told)
  if next(told) == nil then return end
  add_to_slot(MINUTES, MINUTES_KEPT, math.floor(now / 60000), told)
  add_to_slot(HOURS, HOURS_KEPT, math.floor(now / 3600000), told)
end
