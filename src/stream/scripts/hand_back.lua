-- Gives entries back so that another replica may claim them at once, without counting a delivery.
--
-- The idle time is set to an hour: more would wrap to zero where it exceeds the server's age of the epoch, and an hour
-- tells the claimer that nobody died. Owner-checked. ARGV: group, me, the ids. Answers how many were given back.
local held, mine = {}, {}
for i = 3, #ARGV do
  if redis.call('XPENDING', JOBS, GROUP, ARGV[i], ARGV[i], 1, ME)[1] then held[#held + 1] = ARGV[i] end
end
local found = probe(held)
for _, id in ipairs(held) do
  if found[id] then mine[#mine + 1] = id end
end
for first = 1, #mine, 1000 do
  local command = { 'XCLAIM', JOBS, GROUP, ME, 0 }
  for i = first, math.min(first + 999, #mine) do command[#command + 1] = mine[i] end
  for _, option in ipairs({ 'IDLE', 3600000, 'JUSTID' }) do command[#command + 1] = option end
  redis.call(unpack(command))
end
if #mine > 0 and not wrong_type(SWEEP, 'hash') then
  -- The next sweep begins at the front, where what is given back lies, and is due now.
  redis.call('HSET', SWEEP, 'due', 0, 'cursor', '-')
end
return #mine
