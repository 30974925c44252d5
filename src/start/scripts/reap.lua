-- May this container of ours go? token and owner: those on its labels; only_ask: `1` or else; names: of the host that asks,
-- each with a space before and behind it.
-- Answers 1 where the record says that the game runs elsewhere or not at all, and names it as condemned; 2 where moreover no
-- attempt can have it in its hands: the record condemns it already, or its fence has been raised since. 0 where the record
-- names it, an attempt is under way here (which will adopt or remove it), or nothing can be said: no record at all (Redis lost
-- it), or one that is older than the labels (Redis went back), than any attempt, or of another history: one fence that two
-- owners have.
function verbs.reap(key, container, token, owner, only_ask, names)
  local text = get(key)
  if not text then return NO end
  local rec = decode(key, text)
  local is_here_now = is_here(rec.host, names)
  if rec.state == 'starting' and is_here_now then return NO end
  if rec.state == 'running' and rec.container_id == container then return NO end
  local fence = math.max(tonumber(token) or 0, 1)
  if rec.condemned == container and is_here_now then return { '2' } end
  if rec.fence < fence or (rec.fence == fence and rec.owner ~= owner) then return NO end
  -- A game that has ended by itself keeps its container until it is started again: its log tells why.
  if rec.state == 'stopped' and rec.stopped_by == '' and rec.container_id == container then return NO end
  if only_ask ~= '1' and rec.condemned == '' and is_here_now then
    rec.condemned, rec.updated_at_ms = container, now_ms()
    put(key, encode(rec))
  end
  return rec.fence > fence and { '2' } or YES
end
