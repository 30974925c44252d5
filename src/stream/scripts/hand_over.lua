-- Hands entries of ours over to replicas of the hosts on which their jobs are. The new owner is told by a message on its
-- channel, and by its next renewal where the message is refused or lost.
--
-- Owner-checked. An entry changes its owner and nothing else: its number of deliveries, its attempts and the mirror stay as they
-- are, and the death of the new owner counts as that of any owner. CLAIM_IDLE: in ms; EXTRA: entries that a replica may have
-- beyond twice its slots; ENTRIES: as one MessagePack array of texts, for each its id, the host as JSON without its quotation
-- marks or `*` for any other than ours, and the dead replica that it was taken from or ''.
-- Answers per entry, in order: what became of it, and its new owner or ''.
--   handed    the new owner has it
--   nowhere   no replica of that host takes work
--   full      those that do have as much as they may
--   often     it has been handed over too often of late
--   trimmed   its payload is gone, and XCLAIM of 7.0 and later would drop the record
--   lost      it is not ours any more
local CLAIM_IDLE, EXTRA, ENTRIES = unpack(ARGV, 3)
local refused = wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash') or wrong_type(SWEEP, 'hash')
if refused then return refused end
local claim_idle, extra, now, entries = tonumber(CLAIM_IDLE), tonumber(EXTRA), now_ms(), cmsgpack.unpack(ENTRIES)

-- The replicas that something may be handed to, with what is pending for each: what its presence says may be a third of claim
-- idle old.
local function receivers()
  local list, pending_of = {}, {}
  local consumers = redis.pcall('XINFO', 'CONSUMERS', JOBS, GROUP)
  -- Every version so far has these first: name, pending.
  for _, consumer in ipairs(consumers.err and {} or consumers) do pending_of[consumer[2]] = consumer[4] end
  local flat = redis.call('HGETALL', REPLICAS)
  for i = 1, #flat, 2 do
    local presence = flat[i] ~= ME and parse_presence(flat[i + 1])
    -- Several hosts have spaces between them.
    local hosts = presence and string.match(presence.text, '"engine_host":"([^"]*)"')
    local takes_one = hosts and is_sick(presence, now, claim_idle)
    if hosts and (takes_one or is_serving(presence, now, claim_idle)) then
      presence.takes_one = takes_one
      presence.name, presence.hosts = flat[i], ' ' .. hosts .. ' '
      presence.slots = math.max(presence_member(presence, 'slots') or 1, 1)
      local held = consumers.err and presence_member(presence, 'held') or 0
      presence.pending = pending_of[presence.name] or held
      presence.is_heard = presence_member(presence, 'heard_ms') ~= nil
      list[#list + 1] = presence
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- The one that has least in relation to its slots. One without a subscription learns of it with its next renewal only: it
-- counts as fuller by all its slots. One on a sick host is given a job when it has none, and when no other replica takes it.
local fleet
local own = presence_of(ME)
local own_hosts = own and string.match(own.text, '"engine_host":"([^"]*)"')
-- A healthy replica none of whose hosts is ours.
local function is_elsewhere(one)
  if one.takes_one or not own_hosts then return false end
  for host in string.gmatch(own_hosts, '%S+') do
    if string.find(one.hosts, ' ' .. host .. ' ', 1, true) then return false end
  end
  return true
end

local function receiver_on(host)
  fleet = fleet or receivers()
  local best, best_load, is_full = nil, nil, false
  for _, one in ipairs(fleet) do
    if host == '*' and is_elsewhere(one) or string.find(one.hosts, ' ' .. host .. ' ', 1, true) then
      local load = one.takes_one and math.huge or one.pending / one.slots + (one.is_heard and 0 or 1)
      if one.pending >= (one.takes_one and 1 or 2 * one.slots + extra) then
        is_full = true
      elseif not best or load < best_load then
        best, best_load = one, load
      end
    end
  end
  return best, is_full
end

-- What a replica had that was declared dead is for those that claim it.
local is_over = own and (own.state == 'dead' or own.state == 'left')
local mine, ids = {}, {}
for i = 1, #entries, 3 do
  local pending = not is_over and redis.call('XPENDING', JOBS, GROUP, entries[i], entries[i], 1, ME)[1]
  if pending then
    mine[entries[i]] = pending[4]
    ids[#ids + 1] = entries[i]
  end
end
local there = #ids > 0 and probe(ids) or {}

local answers, told, has_suspects = {}, {}, false
local function answer(word, consumer)
  answers[#answers + 1] = word
  answers[#answers + 1] = consumer or ''
end

-- What may be refused is asked for before the first write.
redis.call('XCLAIM', JOBS, GROUP, ME, 0, '0-0', 'JUSTID')
local function hand_over(id, host, dead_owner)
  local deliveries = mine[id]
  if not deliveries then return answer('lost') end
  if not there[id] then return answer('trimmed') end
  local to, is_full = receiver_on(host)
  -- A suspect has run before, and is no job to try a sick host with.
  if to and to.takes_one and attempts_of(id) >= SUSPECT_CRASHES then to = nil end
  if not to then return answer(is_full and 'full' or 'nowhere') end
  local handed = handed_of(id)
  local times = handed and handed.times or 0
  if times >= HANDED_MAX and handed.ms <= now and now - handed.ms < HANDED_PAUSE_MS then return answer('often') end
  redis.call('HSET', ATTEMPTS, 'handed:' .. id, handed_text(times + 1, now, deliveries, to.name, dead_owner))
  local command = { 'XCLAIM', JOBS, GROUP, to.name, 0, id }
  -- A suspect must be claimed by a replica that holds nothing else: it is given back, and reserved for this one.
  local is_suspect = attempts_of(id) >= SUSPECT_CRASHES
  for _, option in ipairs(is_suspect and { 'IDLE', GIVEN_BACK_IDLE_MS, 'JUSTID' } or { 'JUSTID' }) do
    command[#command + 1] = option
  end
  redis.call(unpack(command))
  mine[id] = nil
  to.pending = to.pending + 1
  has_suspects = has_suspects or is_suspect
  if not is_suspect then told[to.name] = true end
  answer('handed', to.name)
end
for i = 1, #entries, 3 do hand_over(entries[i], entries[i + 1], entries[i + 2]) end

for name in pairs(told) do hint(name) end
if has_suspects then make_sweep_due() end
return answers
