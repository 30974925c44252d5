-- Renews what this process holds, and its presence. Owner-checked: never takes an entry from another consumer.
--
-- STATE: of the replica; ABOUT: JSON about it; GENERATION: of its subscription, 0 where there is none at the moment; IDS: what
-- it holds, in order, as one MessagePack array.
-- Answers the group's last-delivered id ('' where there is no group), one word per id, the strays: entries that are
-- pending for this consumer although they are not among the ids, because another replica has handed them over, or because the
-- reply that brought them was lost or is on its way, or because they are to be cancelled while the fleet is paused: for each its id, deliveries, `handed` or '', and the dead replica that it
-- was taken from or ''; and what the server says of the subscription: `heard`, `unheard`, `refused`.
-- Where this replica has been declared dead nothing is renewed, and the last word is `dead`: others take what it holds.
--   mine      still ours
--   trimmed   ours, its payload is gone: left alone, because XCLAIM of 7.0 and later would drop the record
--   other     another consumer has it
--   restored  it had fallen out of the pending list and was put back
--   settled   by another consumer meanwhile
--   absent    not pending and not settled, and not to be put back: its payload is gone, or the group went back before it
local STATE, ABOUT, GENERATION, IDS = unpack(ARGV, 3)
local refused = wrong_type(REPLICAS, 'hash')
if refused then return refused end
local ids = cmsgpack.unpack(IDS)
local refusal = undeclared(ids)
if refusal then return refusal end
local before = presence_of(ME)
-- A call that is late, of a life that has ended, changes nothing either.
if before and (before.state == 'dead' or before.state == 'left') then return { '', {}, {}, 'dead' } end

-- What the server says of our subscription, and the members of the presence that follow from it.
local function hear()
  local now, generation = now_ms(), tonumber(GENERATION)
  local refused_at = before and presence_member(before, 'deaf_ms')
  if refused_at and refused_at <= now and now - refused_at < DEAF_MS then
    return generation == 0 and 'unheard' or 'refused', string.format(',"deaf_ms":%.0f', refused_at)
  end
  if generation == 0 then return 'unheard', '' end
  local counts = subscribers({ ME })
  if not counts then return 'refused', string.format(',"deaf_ms":%.0f', now) end
  if counts[1] == 0 then return 'unheard', '' end
  local run = run_id()
  if not run then return 'refused', string.format(',"deaf_ms":%.0f', now) end
  local since = before and presence_member(before, 'gen') == generation and presence_member(before, 'heard_ms') or now
  return 'heard', string.format(',"heard_ms":%.0f,"gen":%.0f,"run":"%s"', math.min(since, now), generation, run)
end
local hearing, members = hear()
be_present(STATE, ABOUT, members)
local delivered, missing = last_delivered()
if not delivered then
  if #ids == 0 then return { '', {}, {}, hearing } end
  return redis.error_reply(missing)
end

-- What was written down when another replica handed this entry over to us. That is told once: what comes back to us later comes
-- by a reply. Where the answer to this call is lost, the entry is a stray like others. A refusal does not fail the renewal.
local has_attempts = redis.call('EXISTS', ATTEMPTS) == 1 and not wrong_type(ATTEMPTS, 'hash')
local function handed_to_us(id, deliveries)
  local handed = has_attempts and handed_of(id)
  if not handed or handed.consumer ~= ME or handed.deliveries ~= deliveries then return '', '' end
  redis.pcall('HSET', ATTEMPTS, 'handed:' .. id, handed_text(handed.times, handed.ms, deliveries, '', ''))
  return 'handed', handed.dead_owner
end

local given, mine, strays = {}, {}, {}
for _, id in ipairs(ids) do given[id] = true end
local function add_stray(id, deliveries, word, dead_owner)
  for _, text in ipairs({ id, string.format('%.0f', deliveries), word, dead_owner }) do strays[#strays + 1] = text end
end

-- Of our entries that were given back while the fleet is paused, those that operators want cancelled are taken up again: no
-- replica claims them before the pause ends, and to answer them starts nothing. A suspect waits for a replica that has nothing else.
local GIVEN_BACK_MAX = 1000
local takes_up = has_attempts and STATE == 'running' and string.find(ABOUT, '"paused":true', 1, true) ~= nil
local function take_up(rows)
  local fields, cancelled = {}, {}
  for _, row in ipairs(rows) do fields[#fields + 1] = 'cancel:' .. row[1] end
  for position, mark in ipairs(#fields > 0 and redis.call('HMGET', ATTEMPTS, unpack(fields)) or {}) do
    local id = rows[position][1]
    if mark and #cancelled < STRAYS_MAX and attempts_of(id) < SUSPECT_CRASHES then cancelled[#cancelled + 1] = id end
  end
  local there = #cancelled > 0 and probe(cancelled) or {}
  for _, row in ipairs(rows) do
    if there[row[1]] then
      redis.call('XCLAIM', JOBS, GROUP, ME, 0, row[1], 'JUSTID')
      add_stray(row[1], row[4], 'handed', '')
    end
  end
end

local given_back = {}
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, '-', '+', #ids + (takes_up and GIVEN_BACK_MAX or STRAYS_MAX), ME)) do
  mine[pending[1]] = true
  if given[pending[1]] then
    -- In our hands.
  elseif tonumber(pending[3]) >= GIVEN_BACK_IDLE_MS then
    -- What was given back waits for a claim, ours too.
    given_back[#given_back + 1] = pending
  elseif #strays < 4 * STRAYS_MAX then
    add_stray(pending[1], pending[4], handed_to_us(pending[1], pending[4]))
  end
end
if takes_up then take_up(given_back) end
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
return { delivered, words, strays, hearing }
