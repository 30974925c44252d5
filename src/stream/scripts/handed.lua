-- What is written down when an entry is handed over to another replica. It follows what belongs to one consumer.
--
-- Beside the attempts of an entry, the field `handed:<id>`: `<times> <ms of the last time> <deliveries>`, then on lines of
-- their own the consumer that it was handed to, and the dead replica whose lease need not be waited for. The last two are
-- empty once that consumer has been told by its renewal. It serves three ends:
--   - Entries do not go back and forth between replicas that disagree about a host: after HANDED_MAX times an entry is handed
--     over once in HANDED_PAUSE_MS.
--   - A renewal tells an entry that was handed over from one whose reply is on its way: no reply brings the former, so its new
--     owner need not wait for the end of a blocking read. A claim raises the number of deliveries, so what is written here
--     says nothing about an entry that was claimed since.
--   - A suspect stays reserved for its new owner for RESERVED_MS: an empty replica of another host would claim it first, and
--     hand it over again and again.
local HANDED_MAX, HANDED_PAUSE_MS, RESERVED_MS = 8, 10000, 60000

local function handed_of(id)
  local value = redis.call('HGET', ATTEMPTS, 'handed:' .. id)
  local times, ms, deliveries, consumer, dead_owner =
    string.match(value or '', '^(%d+) (%d+) (%d+)\n([^\n]*)\n([^\n]*)$')
  if not times then return nil end
  return { times = tonumber(times), ms = tonumber(ms), deliveries = tonumber(deliveries), consumer = consumer,
    dead_owner = dead_owner }
end

local function handed_text(times, ms, deliveries, consumer, dead_owner)
  return string.format('%.0f %.0f %.0f\n%s\n%s', times, ms, deliveries, consumer, dead_owner)
end

-- Takes new work.
local function is_serving(presence, now, claim_idle)
  return presence.state == 'running' and is_fresh(presence, now, claim_idle)
    and not string.find(presence.text, '"serves":false', 1, true)
end

-- Takes one job at a time, when it has no other: its host is sick, and the games that run there are answered all the same.
local function is_sick(presence, now, claim_idle)
  return presence.state == 'running' and is_fresh(presence, now, claim_idle)
    and string.find(presence.text, '"sick":true', 1, true) ~= nil
end

-- For whom this suspect is reserved; nothing where any replica may have it. A time in the future was written before the server's
-- clock went back.
local function reserved_for(id, deliveries, now, claim_idle)
  local handed = handed_of(id)
  if not handed or handed.consumer == '' or handed.deliveries ~= deliveries then return nil end
  local presence = handed.ms <= now and now - handed.ms < RESERVED_MS and presence_of(handed.consumer)
  return presence and is_serving(presence, now, claim_idle) and handed.consumer or nil
end
