-- Renews what this process holds, and its presence. Owner-checked: never takes an entry from another consumer.
--
-- STATE: of the replica; ABOUT: JSON about it; IDS: what it holds, in order, as one MessagePack array.
-- Answers the group's last-delivered id ('' where there is no group), one word per id, and the strays: entries that are
-- pending for this consumer although they are not among the ids, because the reply that brought them was lost or is on its
-- way: for each its id and deliveries.
--   mine      still ours
--   trimmed   ours, its payload is gone: left alone, because XCLAIM of 7.0 and later would drop the record
--   other     another consumer has it
--   restored  it had fallen out of the pending list and was put back
--   settled   by another consumer meanwhile
--   absent    not pending and not settled, and not to be put back: its payload is gone, or the group went back before it
local STATE, ABOUT, IDS = unpack(ARGV, 3)
local STRAYS_MAX = 64
local refused = wrong_type(REPLICAS, 'hash')
if refused then return refused end
local ids = cmsgpack.unpack(IDS)
local refusal = undeclared(ids)
if refusal then return refusal end
be_present(STATE, ABOUT)
local delivered, missing = last_delivered()
if not delivered then
  if #ids == 0 then return { '', {}, {} } end
  return redis.error_reply(missing)
end

local given, mine, strays = {}, {}, {}
for _, id in ipairs(ids) do given[id] = true end
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, '-', '+', #ids + STRAYS_MAX, ME)) do
  mine[pending[1]] = true
  -- What was given back waits for a claim, ours too.
  if not given[pending[1]] and tonumber(pending[3]) < GIVEN_BACK_IDLE_MS then
    strays[#strays + 1] = pending[1]
    strays[#strays + 1] = string.format('%.0f', pending[4])
  end
end
local words, absent, looked_for = {}, {}, {}
for position, id in ipairs(ids) do
  local pending = not mine[id] and redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1]
  if pending and pending[2] ~= ME then
    words[position] = 'other'
  else
    words[position] = (mine[id] or pending) and 'mine' or 'absent'
    looked_for[#looked_for + 1] = id
    if words[position] == 'absent' then absent[#absent + 1] = id end
  end
end
local settled = in_ledger(absent)
local found = #looked_for > 0 and probe(looked_for) or {}

local refresh, put_back = {}, {}
for position, id in ipairs(ids) do
  if words[position] == 'mine' then
    if found[id] then refresh[#refresh + 1] = id else words[position] = 'trimmed' end
  elseif words[position] == 'absent' then
    if settled[id] then
      words[position] = 'settled'
    elseif found[id] and compare_ids(id, delivered) <= 0 then
      words[position] = 'restored'
      put_back[#put_back + 1] = id
    end
  end
end
for first = 1, #refresh, 1000 do
  local command = { 'XCLAIM', JOBS, GROUP, ME, 0, unpack(refresh, first, math.min(first + 999, #refresh)) }
  command[#command + 1] = 'JUSTID'
  redis.call(unpack(command))
end
for _, id in ipairs(put_back) do redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'FORCE', 'JUSTID') end
if #put_back > 0 and not (wrong_type(MIRROR, 'string') or wrong_type(SHADOW, 'string')) then write_mirror(delivered) end
return { delivered, words, strays }
