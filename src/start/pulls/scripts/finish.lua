-- The pull ID of IMAGE has ended with STATE: done; failed, with CODE and MESSAGE; or given_up, as if it had not begun. WAIT_MS: how
-- long the registry of REPOSITORY wants to be left alone, or 0. The pull came as far as the rest says, unless LAYERS is 0.
-- Answers 1, or 0 where the line is not its own any more.
local IMAGE, REPOSITORY, ID, STATE, CODE, MESSAGE, WAIT_MS, BYTES, TOTAL, LAYERS, LAYERS_DONE = unpack(ARGV)
local wait = tonumber(WAIT_MS)
if wait > 0 and has_room('~' .. REPOSITORY) then
  put('~' .. REPOSITORY, { since = now, ['until'] = now + wait, message = MESSAGE })
end
local line = get(IMAGE)
if not line or line.id ~= ID or line.state ~= 'pulling' then return 0 end
if STATE == 'given_up' and not line.wish then
  redis.call('HDEL', PULLS, IMAGE)
  return 1
end
line.renewed = now
if LAYERS ~= '0' then
  line.bytes, line.total, line.layers, line.layers_done = tonumber(BYTES), tonumber(TOTAL), tonumber(LAYERS), tonumber(LAYERS_DONE)
end
if STATE == 'given_up' or wait > 0 and line.wish then
  -- Another replica carries the wish out, or this one later.
  line.state, line.since, line.owner = 'wanted', now, nil
else
  line.state, line.code, line.message = STATE, CODE ~= '' and CODE or nil, MESSAGE ~= '' and MESSAGE or nil
end
put(IMAGE, line)
return 1
