-- What a death counts: one crash for each entry the owner held, as long as the entry stays below suspicion. A suspect (an
-- entry that two or more processes died with) is claimed by a replica that holds nothing else, and from then on only the
-- death of a process that ran it alone counts. Where at least half of the fleet died at one moment the cause lies outside, and
-- the death counts for nothing; ten times for one entry, so that jobs which always kill together are condemned in the end.
--
-- A death that was noticed at once is counted before it is known who else died at that moment, and its replica may live after
-- all. Such counts are provisional: the field `charges:<consumer>` of the attempts lists the entries, as `<ms> <id> <id>...`.
-- They are withdrawn where it turns out within one claim idle that many died, and where the replica comes back. And no entry
-- is condemned by one: for that the owner must have been silent for claim idle.
local EXCUSED_MAX = 10
-- Of how many dead owners, and entries of theirs that are charged, one sweep asks who died with them.
local DEATHS_MAX, CHARGES_MAX = 32, 1000

-- Who of them has lost its subscription by now: one that held nothing is not declared dead, but it may have died with the
-- others. At most so many are asked about, and only where this replica hears its own subscription, which speaks for the right
-- to ask and for the server.
local ASKED_MAX = 1000
local function mark_disconnected(presences_of_fleet)
  local own = presence_of(ME)
  local run = own and presence_member(own, 'heard_ms') and string.match(own.text, '"run":"%x+"')
  if not run then return end
  local asked_about, names = {}, {}
  for _, presence in ipairs(presences_of_fleet) do
    local is_heard = presence.state ~= 'left' and presence.state ~= 'dead' and presence_member(presence, 'heard_ms')
    if is_heard and #names < ASKED_MAX and string.find(presence.text, run, 1, true) then
      asked_about[#asked_about + 1] = presence
      names[#names + 1] = presence.name
    end
  end
  for i, count in ipairs(#names > 0 and subscribers(names) or {}) do
    asked_about[i].is_disconnected = count == 0
  end
end

-- Every presence, the longest silent first; asked for only where an owner died or there are suspects.
local fleet
local function whole_fleet()
  if fleet then return fleet end
  fleet = {}
  local flat = redis.call('HGETALL', REPLICAS)
  for i = 1, #flat, 2 do
    local presence = parse_presence(flat[i + 1])
    if presence then
      presence.name = flat[i]
      fleet[#fleet + 1] = presence
    end
  end
  table.sort(fleet, function(a, b) return a.seen < b.seen end)
  mark_disconnected(fleet)
  return fleet
end

-- The lists of charges of the replicas that were declared dead within the last claim idle, or shortly before, by name; and by
-- entry who was charged with it.
local charges, charged_with
local function recent_charges(now, claim_idle)
  if charges then return charges end
  charges, charged_with = {}, {}
  for _, presence in ipairs(whole_fleet()) do
    local died = presence.state == 'dead' and presence_member(presence, 'died_ms')
    -- One that fell silent at the same moment is found by the first sweep after claim idle.
    if died and now - died < 1.25 * math.max(presence.claim_idle or 0, claim_idle) then
      local ids = charges_of(presence.name)
      if #ids > 0 then charges[presence.name] = ids end
      for _, id in ipairs(ids) do
        charged_with[id] = charged_with[id] or {}
        charged_with[id][presence.name] = true
      end
    end
  end
  return charges
end

-- Did others die with this owner, and were they at least half of the fleet of that moment? `seen`: when it was heard of last.
-- `had_it`: which others had the entry. They had it one after the other: a job that kills one process after the other is no
-- cause outside.
local function died_with_many(owner, seen, now, claim_idle, had_it)
  local presence, all = presence_of(owner), whole_fleet()
  local window = math.max(presence and presence.claim_idle or claim_idle, claim_idle) / 2
  local low, high = 1, #all + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if all[middle].seen < seen - window then low = middle + 1 else high = middle end
  end
  local dead = presence and 0 or 1
  local others = 0
  for i = low, #all do
    local one = all[i]
    local is_dead = one.state == 'dead' or one.is_disconnected or now - one.seen >= (one.claim_idle or claim_idle) / 2
    if is_dead and had_it[one.name] and one.name ~= owner then
      -- Counts for neither side.
    elseif one.seen <= seen + window and one.state ~= 'left' and is_dead then
      dead = dead + 1
    elseif (presence_member(one, 'born_ms') or 0) <= seen then
      others = others + 1
    end
    if one.seen > seen + window and (dead < 2 or others > dead) then return false end
    if dead >= 2 and dead >= others + #all - i then return true end
  end
  return false
end

-- The same of one entry, asked once for each owner and those who had it too: who was charged with it, and who holds it now.
-- nil where as many deaths were asked about as may be.
local answers, asked = {}, 0
local function has_cause_outside(id, owner, seen, holder, now, claim_idle)
  recent_charges(now, claim_idle)
  local had_it, names = { [holder] = true }, {}
  for name in pairs(charged_with[id] or {}) do had_it[name] = true end
  for name in pairs(had_it) do names[#names + 1] = name end
  table.sort(names)
  local question = owner .. '\n' .. table.concat(names, '\n')
  if answers[question] == nil then
    if asked == DEATHS_MAX then return nil end
    asked = asked + 1
    answers[question] = died_with_many(owner, seen, now, claim_idle, had_it)
  end
  return answers[question]
end

local function excuses_of(id) return tonumber(redis.call('HGET', ATTEMPTS, 'excused:' .. id) or '0') or 0 end

-- Lists these entries as charged to an owner that was declared dead. Who died with it is asked again later: of one that held
-- nothing, or has no subscription, only its silence tells.
local function charge(owner, ids, now)
  local listed = redis.call('HGET', ATTEMPTS, 'charges:' .. owner) or string.format('%.0f', now)
  redis.call('HSET', ATTEMPTS, 'charges:' .. owner, listed .. ' ' .. table.concat(ids, ' '))
end

local function excuse(id) redis.call('HSET', ATTEMPTS, 'excused:' .. id, excuses_of(id) + 1) end

-- One more death is known, or time has passed: of the provisional counts, those that turn out to have a cause outside are
-- withdrawn. Answers how many.
local function reconsider(now, claim_idle)
  fleet, charges, answers, asked = nil, nil, {}, 0
  local withdrawn, looked_at = 0, 0
  local function is_withdrawn(owner, id)
    looked_at = looked_at + 1
    if looked_at > CHARGES_MAX or excuses_of(id) >= EXCUSED_MAX then return false end
    local pending = redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1]
    return pending and has_cause_outside(id, owner, presence_of(owner).seen, pending[2], now, claim_idle)
  end
  for owner, ids in pairs(recent_charges(now, claim_idle)) do
    local stay, go = {}, {}
    for _, id in ipairs(ids) do
      local list = is_withdrawn(owner, id) and go or stay
      list[#list + 1] = id
    end
    -- The list first: where the rights lack HDEL nothing is withdrawn, and so nothing twice.
    if #go > 0 then redis.call('HDEL', ATTEMPTS, 'charges:' .. owner) end
    if #go > 0 and #stay > 0 then charge(owner, stay, now) end
    for _, id in ipairs(go) do
      if take_back(id) then
        excuse(id)
        withdrawn = withdrawn + 1
      end
    end
  end
  charges, answers, asked = nil, {}, 0
  return withdrawn
end
