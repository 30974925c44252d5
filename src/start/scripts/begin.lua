-- Begins an attempt, in one step: answers from what is known, or raises the fence, takes the lease and writes the
-- intent before anything touches the engine.
--
-- source, its field in results, image, owner, lease ms, host, engine kind, id of a container that was seen dead or '',
-- source that is known to be pending nowhere or '', who asks (op_source).
-- Answers: stored <answer> | running <container> <host> | conflict <image> <container> <host> | busy <ms left>
--   | blocked <source> | go <fence> <host> <condemned container or ''>
function verbs.begin(rec, call)
  local _, source, field, image, owner, ttl, host, engine, dead, gone, op_source = unpack(call)
  local stored = redis.call('HGET', beside(rec, 'res'), field)
  if stored then return { 'stored', stored } end

  local state, current, by, at, container, condemned, held_fence, attempts = unpack(redis.call('HMGET', rec,
    'state', 'image_ref', 'source_ref', 'host', 'container_id', 'condemned', 'fence', 'attempt'))
  condemned = condemned or ''
  local sticky = false
  if state == 'running' then
    if dead == '' or container ~= dead then
      if current == image then return { 'running', container or '', at or '' } end
      return { 'conflict', current or '', container or '', at or '' }
    end
    condemned, sticky = dead, true
  elseif state == 'starting' then
    sticky = true
  end

  local fence = tonumber(held_fence or 0)
  if not (fence and fence >= 0 and fence <= FENCE_MAX) then
    error('KEYTYPE ' .. rec .. ' holds a fence that is no number: ' .. tostring(held_fence), 0)
  end
  fence = string.format('%.0f', fence + 1)
  local lease, mine = beside(rec, 'lease'), owner .. ':'
  if state == 'starting' or not redis.call('SET', lease, mine .. fence, 'NX', 'PX', ttl) then
    local held = redis.call('GET', lease)
    local passes = held and string.sub(held, 1, #mine) == mine and by == source
    if held and not passes then return { 'busy', tostring(math.max(redis.call('PTTL', lease), 0)) } end
    if state == 'starting' and by ~= source and current ~= image and by ~= gone then return { 'blocked', by } end
    redis.call('SET', lease, mine .. fence, 'PX', ttl)
  end
  if sticky and at then host = at end
  redis.call('HSET', rec, 'fence', fence, 'state', 'starting', 'image_ref', image, 'source_ref', source,
    'op_source', op_source, 'owner', owner, 'host', host, 'engine', engine, 'condemned', condemned,
    'attempt', string.format('%.0f', (tonumber(attempts or 0) or 0) + 1), 'updated_at_ms', now_ms())
  return { 'go', fence, host, condemned }
end
