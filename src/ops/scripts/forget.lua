-- Forgets a replica that has ended. NAME: the replica; RECORD: its record as the operator has seen it: one that has renewed
-- since lives.
-- Answers: forgotten | changed | holds.
local GROUP, NAME, RECORD = unpack(ARGV)
local function is(key, expected)
  local held = redis.call('TYPE', key)
  return (held.ok or held) == expected
end
if not is(REPLICAS, 'hash') or redis.call('HGET', REPLICAS, NAME) ~= RECORD then return 'changed' end
if is(JOBS, 'stream') then
  -- Without its group it holds nothing.
  local pending = redis.pcall('XPENDING', JOBS, GROUP, '-', '+', 1, NAME)
  if not pending.err and #pending > 0 then return 'holds' end
end
redis.call('HDEL', REPLICAS, NAME)
if is(ATTEMPTS, 'hash') then redis.call('HDEL', ATTEMPTS, 'charges:' .. NAME) end
return 'forgotten'
