-- What the scripts of a host's pulls share. PULLS is a HASH: by image the JSON of its pull (`state`: wanted, pulling, done or
-- failed), and by `~<repository>` until when its registry wants to be left alone (`until`). A replica that pulls renews its
-- line again and again; one that has not for `lease` is dead, or may be. Lines of pulls that have ended are kept for a while,
-- for operators.
local LINES_MAX, ENDED_KEPT_MS, WISH_KEPT_MS, EXPIRY_MS = 256, 3600000, 3600000, 86400000
if redis.replicate_commands then redis.replicate_commands() end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local now = now_ms()

local function whole(number) return string.format('%.0f', number) end

-- The line of this name; nil where there is none that can be read.
local function line_of(text)
  if not text then return nil end
  local fine, line = pcall(cjson.decode, text)
  if fine and type(line) == 'table' then return line end
end
local function get(name) return line_of(redis.call('HGET', PULLS, name)) end

local function put(name, line)
  redis.call('HSET', PULLS, name, cjson.encode(line))
  redis.call('PEXPIRE', PULLS, EXPIRY_MS)
end

-- A time ahead was written before the server's clock went back.
local function age(at) return math.abs(now - (tonumber(at) or 0)) end

-- Whether a replica works on this pull.
local function is_alive(line)
  return line.state == 'pulling' and age(line.renewed) < (tonumber(line.lease) or 0)
end

-- Whether a line says nothing any more.
local function is_over(name, line)
  if string.sub(name, 1, 1) == '~' then return (tonumber(line['until']) or 0) <= now end
  if line.state == 'wanted' then return age(line.since) > WISH_KEPT_MS end
  return not is_alive(line) and age(line.renewed or line.since) > ENDED_KEPT_MS
end

-- Every line that says something, as pairs of its name and itself; the others are removed.
local function lines()
  local found, pairs_of = {}, redis.call('HGETALL', PULLS)
  for at = 1, #pairs_of, 2 do
    local name, line = pairs_of[at], line_of(pairs_of[at + 1])
    if line and not is_over(name, line) then
      found[#found + 1] = { name, line, pairs_of[at + 1] }
    else
      redis.call('HDEL', PULLS, name)
    end
  end
  return found
end

-- Whether there is room for a line of this name.
local function has_room(name)
  return redis.call('HLEN', PULLS) < LINES_MAX or redis.call('HGET', PULLS, name) or #lines() < LINES_MAX
end

-- How much longer the registry wants to be left alone, and its words.
local function limit_of(repository)
  local line = get('~' .. repository)
  if not line then return 0, '' end
  -- Beyond this nothing is ever written: the server's clock has gone back.
  local left = (tonumber(line['until']) or 0) - now
  if left > 900000 then left = 0 end
  return math.max(left, 0), tostring(line.message or '')
end
