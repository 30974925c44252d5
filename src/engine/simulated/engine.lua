-- Containers that exist only here. They follow Docker where it matters: a name is unique per engine, an id is not
-- reused, creating and starting are two steps. Nothing knows about games, so an engine that is asked wrongly (another
-- name, another host, a removal too early) really has two of one game, and its log shows it.
--
-- KEYS: the containers of one name (HASH: `current` -> id, id -> JSON), the log (STREAM).
-- ARGV: verb, now in ms, then by verb:
--   find                      answers id and JSON, or nothing
--   create  id json           answers 1, or 0 where the name is taken
--   change  id json event     answers 1, or 0 where there is no such container
--   remove  id                answers 1
local NAME, LOG = KEYS[1], KEYS[2]
local verb, now = ARGV[1], ARGV[2]
if redis.replicate_commands then redis.replicate_commands() end

local function log(event, id, json)
  redis.call('XADD', LOG, 'MAXLEN', '~', 1000000, '*', 'event', event, 'container_id', id, 'container', json,
    'at_ms', now, 'engine', 'simulated')
end

if verb == 'find' then
  local id = redis.call('HGET', NAME, 'current')
  if not id then return {} end
  return { id, redis.call('HGET', NAME, id) or '' }
end

local id = ARGV[3]
if verb == 'create' then
  if redis.call('HEXISTS', NAME, 'current') == 1 then return 0 end
  redis.call('HSET', NAME, 'current', id, id, ARGV[4])
  log('create', id, ARGV[4])
  return 1
end
if redis.call('HEXISTS', NAME, id) == 0 then return verb == 'remove' and 1 or 0 end
if verb == 'change' then
  redis.call('HSET', NAME, id, ARGV[4])
  log(ARGV[5], id, ARGV[4])
  return 1
end
log('remove', id, redis.call('HGET', NAME, id))
redis.call('HDEL', NAME, id)
if redis.call('HGET', NAME, 'current') == id then redis.call('HDEL', NAME, 'current') end
return 1
