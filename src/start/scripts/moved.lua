-- A running container is published elsewhere now. container: its id; endpoint: where it answers; host: under which name its
-- engine is known now.
-- Answers 1, or 0 where the record does not say that this container runs.
function verbs.moved(key, container, endpoint, host)
  local text = get(key)
  local rec = text and decode(key, text)
  if not rec or rec.state ~= 'running' or rec.container_id ~= container then return NO end
  rec.engine_endpoint, rec.host, rec.updated_at_ms = endpoint, host, now_ms()
  put(key, encode(rec))
  return YES
end
