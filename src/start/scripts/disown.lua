-- A fenced attempt asks whether the container it made itself may go. Answers 1 where nobody can have adopted
-- it: no attempt is under way and the record names another container, or none.
function verbs.disown(key, container)
  local text = get(key)
  local rec = text and decode(key, text) or untouched()
  if rec.state == 'starting' or (rec.state == 'running' and rec.container_id == container) then return NO end
  if rec.condemned ~= '' and rec.condemned ~= container then return NO end
  rec.condemned, rec.updated_at_ms = container, now_ms()
  put(key, encode(rec))
  return YES
end
