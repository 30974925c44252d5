-- Names a container that is to be removed, before it is: nobody adopts it from here on. holder, container.
-- Answers 1, or 0 where the attempt is fenced and must not remove anything.
function verbs.condemn(key, call)
  local rec = decode_held(key, call[2])
  if not rec then return NO end
  rec.condemned, rec.updated_at_ms = call[3], now_ms()
  put(key, encode(rec))
  return YES
end
