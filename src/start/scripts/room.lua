-- What an attempt does with its place on its host while it waits for an image. hosts: as in begin, with the number of games that
-- the host may have where it wants a place again; else it gives its place up.
-- Answers: fenced | yes | full <games on the host>
function verbs.room(key, holder, hosts)
  if not is_held_by(key, holder) then return { 'fenced' } end
  if not string.find(hosts, '\n', 1, true) then
    local name, game = list_of(key, hosts)
    redis.call('ZREM', name, game)
    return { 'yes' }
  end
  local full = is_full(key, hosts)
  if full then return full end
  list(key, string.match(hosts, '^[^\n]*'))
  return { 'yes' }
end
