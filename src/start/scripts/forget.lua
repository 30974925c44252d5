-- A host that is dead is forgotten. The key of the call is the HASH of all hosts; host: its name.
-- Answers 1, or 0 where it is alive, or there is none of that name.
function verbs.forget(key, host)
  local text = redis.call('HGET', key, host)
  if not text then return NO end
  local seen, heartbeat = host_parts(text)
  local age = seen and now_ms() - seen
  if age and age < heartbeat and age > -heartbeat then return NO end
  redis.call('HDEL', key, host)
  return YES
end
