-- Containers that exist only here. They follow Docker where it matters: a name is unique per engine, an id is not
-- reused, creating and starting are two steps. Nothing knows about games, so an engine that is asked wrongly (another
-- name, another host, a removal too early) really has two of one game, and its log shows it.
--
-- The key of each call holds the containers of one name (HASH: `current` -> id, id -> JSON). The log is a STREAM.
local function log(to, event, id, json)
  redis.call('XADD', to, 'MAXLEN', '~', 1000000, '*', 'event', event, 'container_id', id, 'container', json,
    'at_ms', now_ms(), 'engine', 'simulated')
end

-- Answers id and JSON, or nothing.
function verbs.find(name)
  local id = redis.call('HGET', name, 'current')
  if not id then return {} end
  return { id, redis.call('HGET', name, id) or '' }
end

-- log, id, JSON. Answers 1, or 0 where the name is taken.
function verbs.create(name, call)
  local _, to, id, json = unpack(call)
  if redis.call('HSETNX', name, 'current', id) == 0 then return { '0' } end
  redis.call('HSET', name, id, json)
  log(to, 'create', id, json)
  return { '1' }
end

-- log, id, JSON, event. Answers 1, or 0 where there is no such container.
function verbs.change(name, call)
  local _, to, id, json, event = unpack(call)
  if redis.call('HEXISTS', name, id) == 0 then return { '0' } end
  redis.call('HSET', name, id, json)
  log(to, event, id, json)
  return { '1' }
end

-- log, id. Answers 1, also where there is no such container.
function verbs.remove(name, call)
  local _, to, id = unpack(call)
  local json = redis.call('HGET', name, id)
  if json then
    log(to, 'remove', id, json)
    redis.call('HDEL', name, id)
    if redis.call('HGET', name, 'current') == id then redis.call('HDEL', name, 'current') end
  end
  return { '1' }
end
