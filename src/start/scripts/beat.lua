-- A host is alive. The key of the call is the HASH of all hosts: by name `<ms of its last beat> <heartbeat ms> <engine key>
-- <JSON>`. host: its name; engine: the key of its engine, which no two engines share; heartbeat_ms: how long it counts as
-- alive; about: JSON for operators.
-- Answers held <ms since it was heard of> where another engine that is alive has the name, full where there are too many
-- hosts, or ok <now> <ms since its last beat, or ''> and then of every host its name and its text.
local HOSTS_MAX = 1000

local function host_parts(text)
  local seen, heartbeat, engine = string.match(text, '^(%d+) (%d+) (%S+) ')
  return tonumber(seen), tonumber(heartbeat), engine
end

function verbs.beat(key, host, engine, heartbeat_ms, about)
  local now = now_ms()
  local text = redis.call('HGET', key, host)
  local since = ''
  if text then
    local seen, heartbeat, other = host_parts(text)
    -- A time ahead was written before the server's clock went back.
    local age = seen and now - seen or heartbeat_ms
    if seen and other ~= engine and age < heartbeat and age > -heartbeat then return { 'held', whole(math.max(age, 0)) } end
    if seen and other == engine then since = whole(math.max(age, 0)) end
  elseif redis.call('HLEN', key) >= HOSTS_MAX then
    return { 'full' }
  end
  redis.call('HSET', key, host, table.concat({ whole(now), heartbeat_ms, engine, about }, ' '))
  local answer = { 'ok', whole(now), since }
  for _, word in ipairs(redis.call('HGETALL', key)) do answer[#answer + 1] = word end
  return answer
end
