-- Gives the lease up so that the next attempt need not wait for it to run out. leaves: `1` where the engine has no container
-- of the game, or the container that was condemned and has been removed: then the next attempt may be made on any host. Else `0`.
function verbs.release(key, holder, leaves)
  local rec = decode_held(key, holder)
  local may_leave = rec and leaves ~= '0' and rec.state == 'starting'
    and (rec.condemned == '' or rec.condemned == leaves)
  if rec and (rec.lease_until_ms > 0 or may_leave) then
    rec.lease_until_ms = 0
    if may_leave then rec.host, rec.condemned = '', '' end
    put(key, encode(rec))
  end
  return YES
end
