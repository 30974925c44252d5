-- Gives entries back so that another replica may claim them at once, without counting a delivery.
--
-- Owner-checked. IDS: as one MessagePack array; REWINDS: `0` where the next sweep is to go on from where it is instead of at the
-- front: a replica that was given the front may do no better with it. Answers how many were given back.
local IDS, REWINDS = unpack(ARGV, 3)
local mine = {}
for _, id in ipairs(cmsgpack.unpack(IDS)) do
  if redis.call('XPENDING', JOBS, GROUP, id, id, 1, ME)[1] then mine[#mine + 1] = id end
end
local given_back = 0
for first = 1, #mine, 1000 do
  given_back = given_back + give_back({ unpack(mine, first, math.min(first + 999, #mine)) })
end
if given_back > 0 then make_sweep_due(REWINDS == '0') end
return given_back
