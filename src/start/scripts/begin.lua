-- Begins an attempt, in one step: answers from what is known, or raises the fence, takes the lease and writes the
-- intent before anything touches the engine.
--
-- ARGV: source, its field in results, image, owner, lease ms, host, engine kind, id of a container that was seen dead
-- or '', source that is known to be pending nowhere or '', who asks (op_source).
-- Answers: stored <answer> | running <container> <host> | conflict <image> <container> <host> | busy <ms left>
--   | blocked <source> | go <fence> <host> <condemned container or ''>
local source, field, image, owner, ttl, host, engine, dead, gone, op_source = unpack(ARGV)

local stored = redis.call('HGET', RES, field)
if stored then return { 'stored', stored } end

local record = redis.call('HMGET', REC, 'state', 'image_ref', 'source_ref', 'host', 'container_id', 'condemned')
local state, current, by, at, container, condemned = unpack(record)
condemned = condemned or ''
local sticky = false
if state == 'running' then
  if dead == '' or container ~= dead then
    if current == image then return { 'running', container, at } end
    return { 'conflict', current, container, at }
  end
  condemned, sticky = dead, true
elseif state == 'starting' then
  sticky = true
end

local lease = redis.call('GET', LEASE)
local mine = lease and string.sub(lease, 1, #owner + 1) == owner .. ':' and by == source
if lease and not mine then return { 'busy', tostring(math.max(redis.call('PTTL', LEASE), 0)) } end
if state == 'starting' and by ~= source and current ~= image and by ~= gone then return { 'blocked', by } end

local fence = tostring(redis.call('HINCRBY', REC, 'fence', 1))
if sticky and at then host = at end
redis.call('SET', LEASE, owner .. ':' .. fence, 'PX', ttl)
redis.call('HSET', REC, 'state', 'starting', 'image_ref', image, 'source_ref', source,
  'op_source', op_source, 'owner', owner, 'host', host,
  'engine', engine, 'condemned', condemned, 'updated_at_ms', now_ms())
redis.call('HINCRBY', REC, 'attempt', 1)
return { 'go', fence, host, condemned }
