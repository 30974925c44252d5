-- Renews the lease of an attempt that still has the fence. fence, lease ms. Answers 1 or 0.
function verbs.renew(key, call)
  local rec = decode_held(key, call[2])
  if not rec or rec.state ~= 'starting' then return NO end
  rec.lease_until_ms = now_ms() + call[3]
  put(key, encode(rec))
  return YES
end
