-- Everything that can be seen of the group, its streams and the records, in the order of the model's own account. The sections
-- are lists of texts, or nothing.
local JOBS, RESULTS, DEAD, MIRROR, GROUP, SWEEP_FIELDS = unpack(ARGV)
if redis.replicate_commands then redis.replicate_commands() end

local function ids_of(stream)
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do ids[#ids + 1] = entry[1] end
  return ids
end

local function fields_of(flat)
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

local function sorted_hash(key)
  local fields, names, flat = fields_of(redis.call('HGETALL', key)), {}, {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    flat[#flat + 1] = name
    flat[#flat + 1] = fields[name]
  end
  return flat
end

local function rows_of(stream, names)
  local rows = {}
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
    local fields, row = fields_of(entry[2]), { entry[1] }
    for _, name in ipairs(names) do row[#row + 1] = fields[name] or '' end
    rows[#rows + 1] = row
  end
  return rows
end

local delivered, pending, consumers = false, false, {}
local groups = redis.pcall('XINFO', 'GROUPS', JOBS)
for _, flat in ipairs(groups.err and {} or groups) do
  local group = fields_of(flat)
  if group['name'] == GROUP then
    delivered, pending = group['last-delivered-id'], {}
    for _, row in ipairs(redis.call('XPENDING', JOBS, GROUP, '-', '+', 10000)) do
      pending[#pending + 1] = { row[1], row[2], tostring(row[3]), tostring(row[4]) }
    end
    for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', JOBS, GROUP)) do consumers[#consumers + 1] = one[2] end
  elseif not group['name'] then
    delivered = 'a group without a name'
  else
    delivered = 'another group: ' .. group['name']
  end
end

local ledger, index, records = {}, {}, {}
for _, key in ipairs(redis.call('KEYS', JOBS .. ':ledger:*')) do
  for _, id in ipairs(redis.call('SMEMBERS', key)) do
    if id ~= '-' then ledger[#ledger + 1] = id end
  end
end
table.sort(ledger)
do
  local flat, hours = redis.call('ZRANGE', JOBS .. ':ledgers', 0, -1, 'WITHSCORES'), {}
  for i = 1, #flat, 2 do hours[#hours + 1] = { string.match(flat[i], '(%d+)$'), string.format('%.0f', flat[i + 1]) } end
  table.sort(hours, function(a, b) return a[1] < b[1] end)
  for _, hour in ipairs(hours) do
    index[#index + 1] = hour[1]
    index[#index + 1] = hour[2]
  end
end

-- Of the sweep what says when and from where; the rest is its own business.
local sweep = {}
do
  local flat = sorted_hash(JOBS .. ':sweep')
  for i = 1, #flat, 2 do
    if string.find(SWEEP_FIELDS, ' ' .. flat[i] .. ' ', 1, true) then
      sweep[#sweep + 1] = flat[i]
      sweep[#sweep + 1] = flat[i + 1]
    end
  end
end

-- Key, field and text.
for _, key in ipairs(redis.call('KEYS', 'rtm:*')) do
  local held = redis.call('TYPE', key).ok
  if held == 'string' then
    records[#records + 1] = { key, '', redis.call('GET', key) }
  elseif held == 'hash' then
    local flat = redis.call('HGETALL', key)
    for i = 1, #flat, 2 do records[#records + 1] = { key, flat[i], flat[i + 1] } end
  elseif held == 'zset' then
    local flat = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #flat, 2 do records[#records + 1] = { key, flat[i], string.format('%.0f', flat[i + 1]) } end
  end
end

return {
  ids_of(JOBS), delivered, pending, rows_of(RESULTS, { 'source_ref', 'outcome', 'error_code' }),
  rows_of(DEAD, { 'source_ref', 'reason', 'outcome_id' }), redis.call('GET', MIRROR), redis.call('GET', MIRROR .. ':shadow'),
  redis.call('GET', JOBS .. ':verified'), ledger, index, sorted_hash(JOBS .. ':attempts'), sorted_hash(JOBS .. ':replicas'),
  sweep, tostring(redis.call('EXISTS', JOBS .. ':paused')), records, consumers,
}
