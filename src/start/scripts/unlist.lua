-- Takes a game off the list of a host on which an attempt has failed and left nothing. hosts: the names of the host, each
-- with a space before and behind it. A game whose next attempt has begun there stays, and so does one that runs.
function verbs.unlist(key, hosts)
  local text = get(key)
  if not text then return NO end
  local rec = decode(key, text)
  local has_left = rec.state == 'failed' or (rec.state == 'starting' and rec.host == '')
  if not has_left or rec.condemned ~= '' then return NO end
  local prefix, game = string.match(key, '^([^{]*){(.*)}:rec$')
  redis.call('ZREM', prefix .. 'placed:' .. string.match(hosts, '^ (%S+)'), game)
  return YES
end
