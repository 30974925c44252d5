-- Removes dead letters by id. Answers per id, in order, how many entries went: 1, or 0 where there was none.
--
-- KEYS: the dead-letter stream. ARGV: ids. The stream is the fleet's own and has no readers that acknowledge, so XDEL
-- is in order here; on the jobs stream it is never used.
local removed = {}
for position, id in ipairs(ARGV) do removed[position] = redis.call('XDEL', KEYS[1], id) end
return removed
