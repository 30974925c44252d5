-- Removes dead letters by id. Answers per id, in order, how many entries went: 1, or 0 where there was none.
--
-- IDS: as one MessagePack array. The stream is the fleet's own and has no readers that acknowledge, so XDEL
-- is in order here; on the jobs stream it is never used.
local IDS = unpack(ARGV)
local removed = {}
for position, id in ipairs(cmsgpack.unpack(IDS)) do removed[position] = redis.call('XDEL', DEAD, id) end
return removed
