-- Gives the lease up so that the next attempt need not wait for it to run out.
function verbs.release(key, holder)
  local rec = decode_held(key, holder)
  if rec and rec.lease_until_ms > 0 then
    rec.lease_until_ms = 0
    put(key, encode(rec))
  end
  return YES
end
