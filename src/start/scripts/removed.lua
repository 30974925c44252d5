-- A condemned container has been removed, by what keeps the records true. container: its id.
-- Answers 1, or 0 where the record condemns another one, or an attempt is under way.
function verbs.removed(key, container)
  local text = get(key)
  local rec = text and decode(key, text)
  if not rec or rec.state == 'starting' or rec.condemned ~= container then return NO end
  rec.condemned, rec.updated_at_ms = '', rec.updated_at_ms
  put(key, encode(rec))
  return YES
end
