-- What is pending, oldest first, each with its game. COUNT: entries at most; GAME_MAX: bytes of a game id that
-- are answered. Answers per entry: id, owner, idle ms, deliveries, 1 where the payload exists, game id.
local GROUP, FROM, COUNT, GAME_MAX = unpack(ARGV)
local rows = {}
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, FROM, '+', COUNT)) do
  local entry = redis.call('XRANGE', JOBS, pending[1], pending[1])[1]
  local game = ''
  if entry then
    -- Of repeated fields the last wins.
    for i = 1, #entry[2], 2 do if entry[2][i] == 'game_id' then game = entry[2][i + 1] end end
  end
  rows[#rows + 1] = { pending[1], pending[2], pending[3], pending[4], entry and 1 or 0,
    string.sub(game, 1, tonumber(GAME_MAX)) }
end
local time = redis.call('TIME')
return { time[1] * 1000 + math.floor(time[2] / 1000), rows }
