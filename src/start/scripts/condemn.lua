-- Names a container that is to be removed, before it is: nobody adopts it from here on.
-- Answers 1, or 0 where the attempt is fenced and must not remove anything.
function verbs.condemn(key, holder, container)
  local rec = decode_held(key, holder)
  if not rec then return NO end
  rec.condemned, rec.updated_at_ms = container, now_ms()
  put(key, encode(rec))
  return YES
end
