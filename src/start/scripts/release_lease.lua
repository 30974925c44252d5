-- Gives the lease up so that the next attempt need not wait for it to run out. fence, owner.
function verbs.release(rec, call)
  local lease = beside(rec, 'lease')
  if redis.call('GET', lease) == call[3] .. ':' .. call[2] then redis.call('DEL', lease) end
  return YES
end
