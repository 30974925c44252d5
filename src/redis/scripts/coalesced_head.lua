-- A script of verbs: many calls, each about one key, run as one step. Redis and the client pay for every call alone.
-- This head, then functions `verbs.<name>(key, call)`, then the tail.
--
-- KEYS: the key of each call, in order (in a Cluster the calls of one run must share a slot).
-- ARGV: the calls as one MessagePack array of arrays: the verb, then its arguments.
-- Answers one MessagePack array with one array of strings per call; `error` and Redis's text where a call failed, which
-- leaves the others as they are.
if redis.replicate_commands then redis.replicate_commands() end

local verbs, clock = {}, nil

-- The server's Unix milliseconds, asked once.
local function now_ms()
  if not clock then
    local time = redis.call('TIME')
    clock = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  end
  return clock
end
