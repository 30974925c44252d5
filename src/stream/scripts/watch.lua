-- Watches the others: whose subscription has ended, and who is declared dead by it.
--
-- A replica is noted when the server counts no subscriber on its channel although its last renewal heard one, and dead once
-- it has been noted for the grace. A living one is not declared dead by what happened to others:
--   - the judge's own subscription is counted, and of the generation that its last renewal heard: else it may be the judge,
--     or the server, that lost its connections;
--   - the server runs since before the other's last renewal: after a restart or a failover no one is subscribed;
--   - after a subscription of the judge's own was lost, the other has renewed since the judge has a new one: the network may
--     have cut both;
--   - it has not renewed since it was noted: a replica that loses its subscription renews at once, and does not hear itself;
--   - looks follow each other closely while it is noted, within two thirds of the shortest grace: after a pause of the server,
--     looks and renewals that have waited come in any order.

-- In a group of more consumers deaths are noticed by silence: a look would cost the whole fleet too much time.
local CONSUMERS_MAX = 1000
-- For so long the judge must have been subscribed before it declares one dead that is silent for claim idle already: after an
-- outage the others connect again at about the time at which a new replica comes up.
local SETTLED_MS = 1500

-- What the judge knows of those that hold something: { dead = names that are declared dead, listening = names of others that are
-- expected to be subscribed, is_busy = whether it holds something itself, shortest = the shortest grace among them }. A replica
-- is judged by its own grace where that is longer: some reconnect over slow networks.
local function holders(now, claim_idle, grace)
  local known = { dead = {}, listening = {}, is_busy = false, shortest = grace }
  local own = presence_of(ME)
  local is_settled = own and (presence_member(own, 'heard_ms') or now) <= now - SETTLED_MS
  local consumers = redis.pcall('XINFO', 'CONSUMERS', JOBS, GROUP)
  if consumers.err or #consumers > CONSUMERS_MAX then return known end
  for _, consumer in ipairs(consumers) do
    -- Every version so far has these first: name, pending.
    local name, pending = consumer[2], consumer[4]
    if name == ME and pending > 0 then known.is_busy = true end
    local presence = name ~= ME and pending > 0 and presence_of(name)
    if presence and presence.state == 'dead' then
      known.dead[#known.dead + 1] = name
    elseif presence and presence.state ~= 'left' and presence_member(presence, 'heard_ms')
      and (is_fresh(presence, now, claim_idle) or (is_settled and presence.seen <= now))
      -- As it is written down, a name ends with a white space or `=`.
      and not string.find(name, '[%s=]') then
      known.listening[#known.listening + 1] = name
      local its_grace = presence_member(presence, 'disconnect_grace_ms')
      if its_grace and its_grace > 0 then known.shortest = math.min(known.shortest, its_grace) end
    end
  end
  return known
end

-- May this replica judge by subscriptions, as far as its own presence tells? Answers since when the others must have renewed,
-- or nothing.
local function judges_since(own, generation)
  local heard = presence_member(own, 'heard_ms')
  if not heard or presence_member(own, 'gen') ~= generation then return nil end
  -- A first subscription says nothing about others: no earlier one was lost.
  return generation == 1 and 0 or heard
end

local function write_presence(name, text)
  redis.call('HSET', REPLICAS, name, text)
  presences[name] = nil
end

local function declare_dead(name, presence, now)
  local members = string.match(presence.text, '^%d+ %a+ {(.+}.*)$')
  write_presence(name, string.format('%.0f dead {"died_ms":%.0f', presence.seen, now) .. (members and ',' .. members or '}'))
end

-- The server refuses to count subscribers: it is not asked again before renewals ask it again.
local function note_refusal(own, now)
  local deaf = string.format('"deaf_ms":%.0f', now)
  write_presence(ME, (string.gsub(own.text, '"heard_ms":%d+,"gen":%d+,"run":"%x+"', deaf, 1)))
end

-- One look. `noted` is what the last one wrote: `<ms of that look> <name>=<ms>...`. Answers who was declared dead now, what to
-- write down, and in how many ms to look again: `interval` where nothing is to be expected. A replica that cannot judge has
-- nothing to write down: the look, and what others have noted, are left to those that can.
local function look_at_subscriptions(known, noted, now, interval, grace, generation)
  -- Where a replica holds something, its death is found after a grace, and not only after an interval: where that is this one,
  -- by the others.
  local shortest = known.shortest
  local again = math.min(interval, shortest)
  if #known.listening == 0 then return {}, '', known.is_busy and again or interval end
  local own = presence_of(ME)
  local since, run = own and judges_since(own, generation), nil
  if not since then return {}, nil, again end
  local counts = subscribers({ ME, unpack(known.listening) })
  if not counts then
    note_refusal(own, now)
    return {}, nil, interval
  end
  if counts[1] == 0 then return {}, nil, again end
  local before, looked = {}, tonumber(string.match(noted or '', '^(%d+)') or '0')
  if now >= looked and now - looked <= 2 * shortest / 3 then
    for name, ms in string.gmatch(noted, '(%S+)=(%d+)') do before[name] = tonumber(ms) end
  end
  local declared, notes = {}, {}
  for i, name in ipairs(known.listening) do
    local presence = presence_of(name)
    if counts[i + 1] == 0 and presence.seen >= since then
      run = run or run_id()
      if run and string.find(presence.text, '"run":"' .. run .. '"', 1, true) then
        local first = before[name]
        if not first or presence.seen > first or first > now then first = now end
        local needed = math.max(grace, presence_member(presence, 'disconnect_grace_ms') or 0)
        if now - first >= needed then
          declare_dead(name, presence, now)
          declared[#declared + 1] = name
          known.dead[#known.dead + 1] = name
        else
          notes[#notes + 1] = string.format(' %s=%.0f', name, first)
          again = math.max(1, math.min(again, shortest / 3, first + needed - now))
        end
      end
    end
  end
  return declared, #notes > 0 and string.format('%.0f', now) .. table.concat(notes) or '', again
end
