-- Containers that exist only here. They follow Docker where it matters: a name is unique per engine, an id is not
-- reused, creating and starting are two steps. Nothing decides by games, so an engine that is asked wrongly (another
-- name, another host, a removal too early) really has two of one game, and its log shows it.
--
-- The key of each call, `<prefix>sim:{<name>}`, holds the container of one name (STRING): who it is, its state, and the
-- rest, with a blank between them. Who it is: its id, a blank, its game. The log, which is the last key of all, (STREAM) has
-- one entry for each run, with one pair for each event, in order: what happened, and to whom.
local YES, NO, NONE = { '1' }, { '0' }, {}

local events, count = {}, 0

local function log(event, who)
  events[count + 1], events[count + 2] = event, who
  count = count + 2
end

-- Trimmed by runs, of which one may have 64 events: the containers that are never removed take several times as much.
function at_end()
  if count == 0 then return end
  -- A write that is refused behind this one would leave events of what never was. Where the rights lack it, it is called
  -- here, for Redis to refuse it. 6.2 cannot be asked.
  if redis.acl_check_cmd then
    if not redis.acl_check_cmd('MSET', KEYS[1], '') then redis.call('MSET', KEYS[1], '') end
    if not redis.acl_check_cmd('DEL', KEYS[1]) then redis.call('DEL', KEYS[1]) end
  end
  redis.call('XADD', KEYS[#KEYS], 'MAXLEN', '~', 1000000, '*', unpack(events))
end

-- Answers the container, or nothing.
function verbs.find(name)
  local held = get(name)
  return held and { held } or NONE
end

-- Answers 1, or 0 where the name is taken.
function verbs.create(name, who, rest)
  if get(name) then return NO end
  log('create', who)
  put(name, who .. ' created ' .. rest)
  return YES
end

-- Compares in place: every string that is made is hashed byte by byte.
local function change(name, who, state, event)
  local held, length = get(name), #who
  if not held or string.find(held, who, 1, true) ~= 1 or string.byte(held, length + 1) ~= 32 then return NO end
  log(event, who)
  put(name, who .. state .. string.sub(held, string.find(held, ' ', length + 2, true), -1))
  return YES
end

-- Answers 1, or 0 where there is no such container.
function verbs.start(name, who) return change(name, who, ' running', 'start') end
function verbs.exit(name, who) return change(name, who, ' exited', 'exit') end

-- Answers 1, also where there is no such container.
function verbs.remove(name, id)
  local who, held = string.match(get(name) or '', '^((%S+) %S*) ')
  if held == id then
    log('remove', who)
    put(name, nil)
  end
  return YES
end
