-- Renews what this process holds, and its presence. Owner-checked: never takes an entry from somebody else.
--
-- ARGV: group, me, state, JSON about the replica, entries held, smallest and largest id, then the ids.
-- Answers the group's last-delivered id ('' where there is no group), then one word per id: mine; other (another consumer has it); trimmed (ours, its payload is gone: left alone,
-- because XCLAIM of 7.0 and later would drop the record); restored (it had fallen out of the pending list and was put
-- back); settled (by somebody else meanwhile); absent (not pending and not settled, and not to be put back: its
-- payload is gone, or the group went back before it).
local held_max = tonumber(ARGV[5])
local refused = wrong_type(REPLICAS, 'hash')
if refused then return refused end
be_present(ARGV[3], ARGV[4])
local delivered, missing = last_delivered()
if #ARGV < 8 then return { delivered or '' } end

if not delivered then return redis.error_reply(missing) end
local mine, words, refresh, absent = {}, { delivered }, {}, {}
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, ARGV[6], ARGV[7], held_max, ME)) do
  mine[pending[1]] = true
end
for i = 8, #ARGV do
  local id = ARGV[i]
  if not mine[id] then
    local pending = redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1]
    if pending and pending[2] ~= ME then
      words[#words + 1] = 'other'
    elseif pending then
      mine[id] = true
    else
      words[#words + 1] = 'absent'
      absent[#absent + 1] = { id = id, position = #words }
    end
  end
  if mine[id] then
    if exists(id) then
      words[#words + 1] = 'mine'
      refresh[#refresh + 1] = id
    else
      words[#words + 1] = 'trimmed'
    end
  end
end
for first = 1, #refresh, 1000 do
  local command = { 'XCLAIM', JOBS, GROUP, ME, 0 }
  for i = first, math.min(first + 999, #refresh) do command[#command + 1] = refresh[i] end
  command[#command + 1] = 'JUSTID'
  redis.call(unpack(command))
end

local restored = false
if #absent > 0 then
  local ids = {}
  for _, entry in ipairs(absent) do ids[#ids + 1] = entry.id end
  local settled = in_ledger(ids)
  for _, entry in ipairs(absent) do
    if settled[entry.id] then
      words[entry.position] = 'settled'
    elseif compare_ids(entry.id, delivered) <= 0 and exists(entry.id) then
      redis.call('XCLAIM', JOBS, GROUP, ME, 0, entry.id, 'FORCE', 'JUSTID')
      words[entry.position] = 'restored'
      restored = true
    end
  end
end
if restored and not (wrong_type(MIRROR, 'string') or wrong_type(SHADOW, 'string')) then write_mirror(delivered) end
return words
