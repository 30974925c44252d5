-- An operator stops a game, or gives up the host it is on. who: for its story; host: only where it is placed there, or '';
-- gone: `1` where that host is dead: no container there can be removed now, and none keeps its game from another host.
-- The fence rises, so that a start under way ends without an answer; the host removes the container.
-- Answers what the record said: running | starting, or stopped | failed | absent | elsewhere, where nothing was stopped; then
-- the host.
function verbs.stop(key, who, host, gone)
  local text = get(key)
  if not text then return { 'absent', '' } end
  local rec = decode(key, text)
  local was = rec.state
  if host ~= '' and rec.host ~= host then return { 'elsewhere', rec.host } end
  if was == 'running' or was == 'starting' then
    raise_fence(key, rec)
    end_game(key, rec)
    if was == 'running' and gone ~= '1' then rec.condemned = rec.container_id end
    rec.exit_code, rec.ended_at_ms, rec.stopped_by = '', whole(now_ms()), who
  elseif gone ~= '1' or rec.condemned == '' then
    return { was, rec.host }
  end
  -- What a dead host still has is removed when it comes back: its labels say a lower fence, or the record does not name it.
  if gone == '1' then rec.condemned = '' end
  put(key, encode(rec))
  return { was, rec.host }
end
