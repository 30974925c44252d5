-- Takes the reconciler's tick, unless it has been taken within the interval. The key of the call is the tick's own: since
-- when, and by whom. It expires, and it says when it was taken: an expiry lasts as much longer as the server's clock goes
-- back. Answers 1 or 0.
function verbs.tick(key, interval_ms, owner)
  local held, now = get(key), now_ms()
  local at = held and tonumber(string.match(held, '^(%d+) ') or now)
  if at and at <= now and now - at < tonumber(interval_ms) then return NO end
  redis.call('SET', key, whole(now) .. ' ' .. owner, 'PX', interval_ms)
  return YES
end
