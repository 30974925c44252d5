-- Renews the lease of an attempt that still holds the game. Answers 1 or 0.
function verbs.renew(key, holder, lease_ms)
  local rec = decode_held(key, holder)
  if not rec or rec.state ~= 'starting' then return NO end
  -- Both, because the time between them is the lease's length.
  rec.lease_until_ms, rec.updated_at_ms = now_ms() + lease_ms, now_ms()
  put(key, encode(rec))
  return YES
end
