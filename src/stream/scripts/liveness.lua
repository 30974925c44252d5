-- How a replica's death is noticed at once: by its subscription, which ends with its process. It follows what belongs to one
-- consumer.
--
-- Each replica keeps a subscription to the channel of its name, on a connection of its own. All that is published there is that
-- an entry was handed over to it.
-- The kernel closes the connections of a process that ends, however it ends, and PUBSUB NUMSUB then counts no subscriber. A
-- renewal writes what it heard of its own subscription into the presence, as three more members of the JSON: `heard_ms`, the
-- server time of the first renewal that heard this generation of the subscription; `gen`, the generation, which is raised
-- before each SUBSCRIBE; `run`, the id of the server's run. Where the server refuses PUBSUB NUMSUB or INFO, `deaf_ms` says when:
-- each refusal is written to the server's ACL log, so it is asked again after five minutes.
local DEAF_MS = 300000
local CHANNEL = JOBS .. ALIVE_SUFFIX

-- Off in a claim that notices deaths by silence alone.
local may_ask = true

-- How many subscribers there are to the channels of these consumers, in their order; nothing where the server refuses to say.
-- A script is asked for the right to the command alone, not for the channel's.
local function subscribers(consumers)
  if not may_ask then return nil end
  local command = { 'PUBSUB', 'NUMSUB' }
  for _, consumer in ipairs(consumers) do command[#command + 1] = CHANNEL .. consumer end
  local reply = redis.pcall(unpack(command))
  if reply.err then return nil end
  local counts = {}
  for i = 2, #reply, 2 do counts[#counts + 1] = tonumber(reply[i]) end
  return counts
end

-- Changes with each start of the server, and with each failover to another one.
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or nil
end
