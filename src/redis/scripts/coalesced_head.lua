-- A script of verbs: many calls, each about one STRING key, run as one step. Redis and the client pay for every call
-- alone, and Redis for every command in it: the values of all keys are read by one command and written by one.
-- This head, then functions `verbs.<name>(key, ..)`, then the tail. A verb is handed the key and its arguments; it names
-- exactly as many as its caller sends, at most seven, because the next call's words follow.
--
-- KEYS: the key of each call, in order (in a Cluster the calls of one run must share a slot), then whatever else its verbs
-- may touch: a Cluster that moves a slot refuses a key that is not named here, and that may be after the first write.
-- PACKED: one MessagePack array: for each call the number of its words, then those: the verb and its arguments. An array for
-- each would cost more than all the rest of taking it apart. COUNT: how many calls there are, where there are further keys.
-- Answers one MessagePack array with one array of strings per call; `error` and Redis's text where a call failed, which
-- leaves the others as they are. Where Redis refuses to write, the run fails as a whole and nothing is written.
local PACKED, COUNT = unpack(ARGV)
if redis.replicate_commands then redis.replicate_commands() end

-- `at_end`, where the verbs set it, runs once behind the last call and before anything is written.
local verbs, at_end, clock = {}, nil, nil
local CALLS = tonumber(COUNT) or #KEYS

-- The server's Unix milliseconds, asked once.
local function now_ms()
  if not clock then
    local time = redis.call('TIME')
    clock = time[1] * 1000 + math.floor(time[2] / 1000)
  end
  return clock
end

-- By key: the value, as the calls so far have left it. By key in `wrong`: the type of what is no STRING.
local values, wrong = {}, {}
-- The keys that are to be written, or to go.
local changed = {}

do
  local absent, count = {}, 0
  for position, value in ipairs(redis.call('MGET', unpack(KEYS, 1, CALLS))) do
    local key = KEYS[position]
    if value then
      values[key] = value
    else
      count = count + 1
      absent[count] = key
    end
  end
  -- Of a key of another type MGET answers nothing, and MSET would replace it.
  if count > 0 and redis.call('EXISTS', unpack(absent)) > 0 then
    for _, key in ipairs(absent) do
      local held = redis.call('TYPE', key)
      held = held.ok or held
      if held ~= 'none' then wrong[key] = held end
    end
  end
end

-- The value of a key; nil where there is none.
local function get(key)
  local value = values[key]
  if not value and wrong[key] then
    error('KEYTYPE ' .. key .. ' holds a ' .. wrong[key] .. ' where a string is expected', 0)
  end
  return value
end

-- What the key is to hold from here on; nil: nothing. Only after `get`, and as the last thing a verb does: what a verb has
-- put stays although it fails.
local function put(key, value)
  values[key], changed[key] = value, true
end
