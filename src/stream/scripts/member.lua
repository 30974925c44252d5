-- What the scripts of one consumer share: its name, who is there, and giving entries back. It follows the bookkeeping.
local ME = unpack(ARGV, 2, 2)

-- How long what was given back seems to have lain untouched. Nothing else gets that old.
local GIVEN_BACK_IDLE_MS = 3600000

-- Presence: `<last seen, server ms> <state> <JSON about the replica>` by consumer name. Three members of the JSON say by
-- what the replica judges and is judged: `claim_idle_ms`; `since_ms`, the server time since when it has watched the
-- others without a gap; `born_ms`, the server time of its first renewal. How a death was noticed is written by the claim:
-- the state `dead` and `died_ms`, by its subscription; `lost_ms`, by its silence.
local function parse_presence(value)
  local seen, state = string.match(value, '^(%d+) (%a+) ')
  if not seen then return nil end
  local claim_idle = string.match(value, '"claim_idle_ms":(%d+)')
  return { seen = tonumber(seen), state = state, claim_idle = tonumber(claim_idle), text = value }
end

-- The presence of a consumer, or false; asked of Redis once in each run of a script.
local presences = {}
local function presence_of(consumer)
  local presence = presences[consumer]
  if presence == nil then
    local value = redis.call('HGET', REPLICAS, consumer)
    presence = value and parse_presence(value) or false
    presences[consumer] = presence
  end
  return presence
end

local function presence_member(presence, name)
  return tonumber(string.match(presence.text, '"' .. name .. '":(%d+)'))
end

-- Is the replica of this presence there, by its own claim idle? A presence further ahead than that was written before
-- the server's clock went back.
local function is_fresh(presence, now, claim_idle)
  local length = presence.claim_idle or claim_idle
  return presence.state ~= 'left' and presence.state ~= 'dead' and presence.seen + length > now and presence.seen <= now + length
end

-- Since when this replica has watched the others without a gap. A silent replica proves nothing where the judge could
-- not have heard it: right after the judge's start, after Redis was away, and after a step of the server's clock.
-- Renewals come every third of claim idle; one that is late by more than a twelfth costs three times that.
local function watching_since(own, now, claim_idle)
  local since = own and presence_member(own, 'since_ms')
  if not since or own.seen > now or since > now then return now end
  local late = 3 * (now - own.seen - claim_idle * 5 / 12)
  if late <= 0 then return since end
  return math.max(since, math.floor(now - math.max(claim_idle - late, 0)))
end

-- `more`: further members of the JSON.
local function be_present(state, about, more)
  local now, own = now_ms(), presence_of(ME)
  local since = watching_since(own, now, tonumber(string.match(about, '"claim_idle_ms":(%d+)')) or 0)
  local born = math.min(own and presence_member(own, 'born_ms') or now, now)
  local rest = string.sub(about, 2)
  redis.call('HSET', REPLICAS, ME, string.format('%.0f %s {"born_ms":%.0f,"since_ms":%.0f', now, state, born, since)
    .. (more or '') .. (rest == '}' and rest or ',' .. rest))
  presences[ME] = nil
end

-- Makes these entries of ours (a thousand at most) claimable at once; those whose payload is gone stay as they are,
-- because XCLAIM of 7.0 and later would drop their records. The idle time is set to an hour: more would wrap to zero where
-- it exceeds the server's age of the epoch, and an hour tells the claimer that no replica died. Answers how many there were.
local function give_back(ids)
  local there, command = probe(ids), { 'XCLAIM', JOBS, GROUP, ME, 0 }
  local count = 0
  for _, id in ipairs(ids) do
    if there[id] then
      command[#command + 1] = id
      count = count + 1
    end
  end
  if count == 0 then return 0 end
  for _, option in ipairs({ 'IDLE', GIVEN_BACK_IDLE_MS, 'JUSTID' }) do command[#command + 1] = option end
  redis.call(unpack(command))
  return count
end

-- The next sweep begins at the front, where what is given back lies, unless it `goes_on`; and is due now.
local function make_sweep_due(goes_on)
  if wrong_type(SWEEP, 'hash') then return end
  redis.call('HSET', SWEEP, 'due', 0)
  if not goes_on then redis.call('HSET', SWEEP, 'cursor', '-') end
end
