-- The auditor's one atomic look at the mirror and at what it must not pass. Reads only, and shares nothing with the
-- worker's scripts.
--
-- KEYS: jobs, results, dead letters, mirror, shadow, verified. ARGV: group, prefix of the ledger's buckets.
-- Answers texts: server ms; has a group (1, 0); last-delivered; mirror; shadow; verified; oldest pending; oldest pending
-- that the ledger does not know; first entry after last-delivered; then for each of the three streams: first id, last
-- id ever, `1` where entries were removed, `0` where none were, `?` where the server does not say.
local JOBS, GROUP, LEDGER = KEYS[1], ARGV[1], ARGV[2]

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))

local function first_of(stream, after)
  local entry = redis.call('XRANGE', stream, after and '(' .. after or '-', '+', 'COUNT', 1)[1]
  return entry and entry[1] or ''
end

local function ends_of(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then return '', '0-0', '0' end
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  local added, cut = fields['entries-added'], '?'
  if added then cut = added > fields['length'] and '1' or '0' end
  return first_of(stream), fields['last-generated-id'], cut
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
    for _, row in ipairs(page) do
      if oldest == '' then oldest = row[1] end
      local hour = math.floor(tonumber(string.match(row[1], '^(%d+)')) / 3600000)
      if redis.call('SISMEMBER', LEDGER .. string.format('%.0f', hour), row[1]) == 0 then unsettled = row[1]; break end
    end
    if unsettled ~= '' or #page < 100 then break end
    from = '(' .. page[100][1]
  end
end

local answer = { now, has_group, delivered }
for i = 4, 6 do answer[#answer + 1] = redis.call('GET', KEYS[i]) or '' end
answer[#answer + 1] = oldest
answer[#answer + 1] = unsettled
answer[#answer + 1] = has_group == '1' and redis.call('EXISTS', JOBS) == 1 and first_of(JOBS, delivered) or ''
for i = 1, 3 do
  local first, last, cut = ends_of(KEYS[i])
  answer[#answer + 1] = first
  answer[#answer + 1] = last
  answer[#answer + 1] = cut
end
return answer
