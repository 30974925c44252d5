-- Renews the lease of an attempt that still holds the game. holder, lease ms. Answers 1 or 0.
function verbs.renew(key, call)
  local rec = decode_held(key, call[2])
  if not rec or rec.state ~= 'starting' then return NO end
  -- Both, because the time between them is the lease's length.
  rec.lease_until_ms, rec.updated_at_ms = now_ms() + call[3], now_ms()
  put(key, encode(rec))
  return YES
end
