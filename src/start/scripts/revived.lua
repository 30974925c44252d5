-- A container that had ended by itself runs again. container: its id; endpoint: where it answers; host: under which name its
-- engine is known now.
-- Answers 1, or 0 where the record does not say that this container ended by itself.
function verbs.revived(key, container, endpoint, host)
  local text = get(key)
  local rec = text and decode(key, text)
  if not rec or rec.state ~= 'stopped' or rec.stopped_by ~= '' or rec.container_id ~= container then return NO end
  if rec.condemned == container then return NO end
  rec.state, rec.engine_endpoint, rec.host, rec.updated_at_ms = 'running', endpoint, host, now_ms()
  rec.exit_code, rec.ended_at_ms = '', ''
  put(key, encode(rec))
  return YES
end
