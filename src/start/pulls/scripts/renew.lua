-- The pull ID of IMAGE goes on, and has come so far. Answers 1, or 0 where the line is not its own any more.
local IMAGE, ID, BYTES, TOTAL, LAYERS, LAYERS_DONE = unpack(ARGV)
local line = get(IMAGE)
if not line or line.id ~= ID or line.state ~= 'pulling' then return 0 end
line.renewed, line.bytes, line.total = now, tonumber(BYTES), tonumber(TOTAL)
line.layers, line.layers_done = tonumber(LAYERS), tonumber(LAYERS_DONE)
put(IMAGE, line)
return 1
