-- A container of the record has ended, or is gone: the game is stopped. container: its id; exit_code and ended_at_ms: as
-- decimal texts, or '' where no one can tell.
-- Answers 1, or 0 where the record does not say that this container runs.
function verbs.ended(key, container, exit_code, ended_at_ms)
  local text = get(key)
  local rec = text and decode(key, text)
  if not rec or rec.state ~= 'running' or rec.container_id ~= container then return NO end
  end_game(key, rec)
  rec.exit_code, rec.ended_at_ms = exit_code, ended_at_ms
  put(key, encode(rec))
  return YES
end
