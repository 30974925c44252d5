-- What every script of a game's record shares. Each script is this text followed by its own.
--
-- KEYS: record (HASH), lease (STRING `owner:fence`, expiring), results (HASH, answer by source entry). The lease says
-- only that somebody is alive; what makes a write safe is `fence` in the record, and the record is never deleted.
local REC, LEASE, RES = KEYS[1], KEYS[2], KEYS[3]
local RESULTS_KEPT_MS, RESULTS_MAX = 604800000, 64

local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

if redis.replicate_commands then redis.replicate_commands() end

local function is_fence(token)
  return redis.call('HGET', REC, 'fence') == token
end

-- Keeps an answer for redeliveries of its entry; of too many, the oldest go.
local function store_result(field, answer)
  redis.call('HSET', RES, field, answer)
  redis.call('PEXPIRE', RES, RESULTS_KEPT_MS)
  if redis.call('HLEN', RES) > RESULTS_MAX then
    local fields = redis.call('HKEYS', RES)
    -- `stream/ms-seq`: ids of one age have one length, and an order that is off by little harms nothing here.
    table.sort(fields)
    redis.call('HDEL', RES, fields[1] == field and fields[2] or fields[1])
  end
end
