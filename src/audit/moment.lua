-- The auditor's one atomic look at the mirror and at what it must not pass. Reads only, and shares nothing with the
-- worker's scripts.
--
-- KEYS: jobs, results, dead letters, mirror, shadow, verified, then buckets of the ledger. LEDGER: prefix of the ledger's
-- buckets. Where it needs buckets that are not named, it answers NEEDKEYS and their hours, and is called again.
-- Otherwise it answers texts: server ms; has a group (1, 0); last-delivered; mirror; shadow; verified; oldest pending; oldest
-- pending that the ledger does not know; first entry after last-delivered; then for each of the three streams: first id, last
-- id ever, entries ever added, length, highest id that XDEL removed ('' where the server does not say, before 7.0).
local GROUP, LEDGER = unpack(ARGV)
local JOBS = unpack(KEYS)
local named = {}
for position = 7, #KEYS do named[KEYS[position]] = true end

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

-- Nothing is after the largest possible id: Redis refuses it as the beginning of a range.
local ID_MAX = '18446744073709551615-18446744073709551615'

local function first_of(stream, after)
  if after == ID_MAX then return '' end
  local entry = redis.call('XRANGE', stream, after and '(' .. after or '-', '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end

local function ends_of(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then return { '', '0-0', 0, 0, '0-0' } end
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  return {
    first_of(stream), fields['last-generated-id'], fields['entries-added'] or '', fields['length'],
    fields['max-deleted-entry-id'] or '',
  }
end

local has_group, delivered = '0', ''
local groups = redis.pcall('XINFO', 'GROUPS', JOBS)
if not groups.err then
  for _, group in ipairs(groups) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    if fields['name'] == GROUP then has_group, delivered = '1', fields['last-delivered-id'] end
  end
end

-- What a lost group delivered again is pending and settled: it holds nothing up. Bounded at 2,000 of those.
local oldest, unsettled = '', ''
if has_group == '1' then
  local from = '-'
  for _ = 1, 20 do
    local page = redis.call('XPENDING', JOBS, GROUP, from, '+', 100)
    local needed = {}
    for _, row in ipairs(page) do
      if oldest == '' then oldest = row[1] end
      local hour = string.format('%.0f', math.floor(tonumber(string.match(row[1], '^(%d+)')) / 3600000))
      local bucket = LEDGER .. hour
      if not named[bucket] then
        named[bucket] = true
        needed[#needed + 1] = hour
      elseif #needed == 0 and redis.call('SISMEMBER', bucket, row[1]) == 0 then
        unsettled = row[1]
        break
      end
    end
    if #needed > 0 then return { 'NEEDKEYS', unpack(needed) } end
    if unsettled ~= '' or #page < 100 or page[100][1] == ID_MAX then break end
    from = '(' .. page[100][1]
  end
end

local answer = { now, has_group, delivered }
for i = 4, 6 do answer[#answer + 1] = redis.call('GET', KEYS[i]) or '' end
answer[#answer + 1] = oldest
answer[#answer + 1] = unsettled
answer[#answer + 1] = has_group == '1' and redis.call('EXISTS', JOBS) == 1 and first_of(JOBS, delivered) or ''
for i = 1, 3 do
  for _, word in ipairs(ends_of(KEYS[i])) do answer[#answer + 1] = word end
end
return answer
