-- What the verbs of a game's record share.
--
-- The key of each call is the record (HASH, `...:rec`). Beside it stand the lease (STRING `owner:fence`, expiring) and
-- the results (HASH, answer by source entry). The lease says only that somebody is alive; what makes a write safe is
-- `fence` in the record, and the record is never deleted.
local RESULTS_KEPT_MS, RESULTS_MAX = 604800000, 64
-- Beyond this a fencing token would not rise any more: Lua's numbers are doubles.
local FENCE_MAX = 9007199254740990
local YES, NO = { '1' }, { '0' }

local function beside(rec, part) return string.sub(rec, 1, -4) .. part end

local function is_fence(rec, token)
  return redis.call('HGET', rec, 'fence') == token
end

-- Keeps an answer for redeliveries of its entry; of too many, the oldest go.
local function store_result(rec, field, answer)
  local results = beside(rec, 'res')
  redis.call('HSET', results, field, answer)
  redis.call('PEXPIRE', results, RESULTS_KEPT_MS)
  if redis.call('HLEN', results) > RESULTS_MAX then
    local fields = redis.call('HKEYS', results)
    -- `stream/ms-seq`: ids of one age have one length, and an order that is off by little harms nothing here.
    table.sort(fields)
    redis.call('HDEL', results, fields[1] == field and fields[2] or fields[1])
  end
end
