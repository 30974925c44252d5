-- May this container of ours go? token and owner: those on its labels; only_ask: `1` or else.
-- Answers 1 where the record says that the game runs elsewhere or not at all, and names it as condemned; 0 where the
-- record names it, an attempt is under way (which will adopt or remove it), or nothing can be said: no record at all
-- (Redis lost it), or one that is older than the labels (Redis went back), than any attempt, or of another history: one
-- fence that two owners have.
function verbs.reap(key, container, token, owner, only_ask)
  local text = get(key)
  if not text then return NO end
  local rec = decode(key, text)
  if rec.state == 'starting' or (rec.state == 'running' and rec.container_id == container) then return NO end
  local fence = math.max(tonumber(token) or 0, 1)
  if rec.fence < fence or (rec.fence == fence and rec.owner ~= owner) then return NO end
  if only_ask ~= '1' and rec.condemned == '' then
    rec.condemned, rec.updated_at_ms = container, now_ms()
    put(key, encode(rec))
  end
  return YES
end
