-- Renews the lease of an attempt that still has the fence. fence, owner, lease ms. Answers 1 or 0.
function verbs.renew(rec, call)
  local fence, state = unpack(redis.call('HMGET', rec, 'fence', 'state'))
  if fence ~= call[2] or state ~= 'starting' then return NO end
  redis.call('SET', beside(rec, 'lease'), call[3] .. ':' .. call[2], 'PX', call[4])
  return YES
end
