-- Begins an attempt, in one step: answers from what is known, or raises the fence, takes the lease and writes the
-- intent before anything touches the engine.
--
-- record: from the comma behind its numbers on, as it is to be; dead: a container that was seen dead, or ''; gone: a source
-- that is known to be pending nowhere, or ''; owner: as JSON; dead_owner: the dead replica that the job was taken from, or '':
-- its lease is not waited for; hosts: the names of the host that asks, each with a space before and behind it; then, where
-- there is one of the two, a line with the name of a host that is known to be dead, or nothing; then, where it has a limit, a
-- line with the number of games that the host may have. The calls of one run are of one owner, with leases of one length.
-- Answers: first <now> (there was no record: fence and attempt are 1)
--   | stored <answer> <the host it was given by, where the game still runs it; else ''>
--   | running <container> | conflict <image> <container> | elsewhere <host> | busy <ms left> | blocked <source>
--   | halted <who stopped the game> | full <games on the host> | go <now> <fence> <attempt> <condemned container or ''>

-- The lists of the games of hosts, further keys: who comes on which, as ZADD takes it. One command for all calls of a run.
local listed = {}
function at_end()
  for list, words in pairs(listed) do
    local added = redis.pcall('ZADD', list, unpack(words))
    if type(added) == 'table' and added.err then error('KEYTYPE ' .. list .. ' holds no list of games: ' .. added.err, 0) end
  end
end

-- The list of the games of the host that asks, and the game.
local function list_of(key, names)
  local prefix, game = string.match(key, '^([^{]*){(.*)}:rec$')
  return prefix .. 'placed:' .. string.match(names, '^ (%S+)'), game
end

-- The game may run on the host that asks, from here on.
local function list(key, names)
  local name, game = list_of(key, names)
  local words = listed[name] or {}
  local count = #words
  words[count + 1], words[count + 2] = whole(now_ms()), game
  listed[name] = words
end

-- By list: how many games are on it, those among them that this run has put there and that were not there before, and how
-- far the words of this run are counted.
local sizes = {}

-- How many games are on the host that asks, where it may have no other; nothing where it may. hosts: as above.
local function is_full(key, hosts)
  local most = tonumber(string.match(hosts, '\n[^\n]*\n(%d+)$'))
  if not most then return nil end
  local name, game = list_of(key, hosts)
  local size, words = sizes[name], listed[name] or {}
  if not size then
    local count = redis.pcall('ZCARD', name)
    if type(count) == 'table' then
      local is_other = string.find(count.err, 'WRONGTYPE', 1, true) == 1
      error(is_other and 'KEYTYPE ' .. name .. ' holds no list of games' or count.err, 0)
    end
    size = { count = count, added = {}, counted = 0 }
    sizes[name] = size
  end
  for at = size.counted + 2, #words, 2 do
    local other = words[at]
    if not size.added[other] and not redis.call('ZSCORE', name, other) then
      size.added[other], size.count = true, size.count + 1
    end
  end
  size.counted = #words
  if size.count < most or size.added[game] or redis.call('ZSCORE', name, game) then return nil end
  return { 'full', whole(size.count) }
end

-- How a game's first record begins, and what is answered to it.
local first_beginning, first_answer

-- Did an operator stop the game after this job was appended? Entry ids begin with the server's Unix milliseconds.
local function was_halted(rec, new)
  if rec.state ~= 'stopped' or rec.stopped_by == '' then return false end
  local appended = tonumber(string.match(new.source_ref, '^(%d+)%-%d+$'))
  return appended ~= nil and appended <= rec.updated_at_ms
end

function verbs.begin(key, record, lease_ms, dead, gone, owner, dead_owner, hosts)
  local text = get(key)
  if not text then
    local full = is_full(key, hosts)
    if full then return full end
    -- A game without a record has no answers either: they are kept when the record goes from one job to another.
    first_beginning = first_beginning or beginning(1, owner, now_ms() + lease_ms, now_ms(), 1)
    first_answer = first_answer or { 'first', whole(now_ms()) }
    list(key, hosts)
    put(key, first_beginning .. record)
    return first_answer
  end
  local rec, new = decode(key, text), decode_sent(key, owner, record)
  local names, dead_host = string.match(hosts, '^([^\n]*)\n?([^\n]*)')
  local is_on_dead_host = dead_host ~= '' and rec.host == dead_host
  local is_elsewhere = not is_here(rec.host, names) and not is_on_dead_host

  local stored = answered(key, rec, new)
  if stored and was_halted(rec, new) and string.find(stored, '"outcome":"success"', 1, true) then
    return { 'halted', rec.stopped_by }
  end
  -- A success whose container is gone is no answer any more, and neither is one whose container is on a dead host.
  if stored and (dead == '' or not string.find(stored, '"container_id":' .. cjson.encode(dead), 1, true)) then
    local is_current = rec.state == 'running' and string.find(stored, '"container_id":' .. cjson.encode(rec.container_id), 1, true)
    if not (is_current and is_on_dead_host) then return { 'stored', stored, is_current and rec.host or '' } end
  end
  if was_halted(rec, new) then return { 'halted', rec.stopped_by } end

  local is_starting, is_dead, is_again = rec.state == 'starting', false, is_of_one_job(rec, new)
  if rec.state == 'running' then
    if is_elsewhere then return { 'elsewhere', rec.host } end
    is_dead = (dead ~= '' and rec.container_id == dead) or is_on_dead_host
    if not is_dead and rec.image_ref == new.image_ref then return { 'running', rec.container_id } end
    if not is_dead then return { 'conflict', rec.image_ref, rec.container_id } end
  end

  local left = lease_left(rec, lease_ms)
  local is_mine, is_of_dead = is_again and rec.owner == new.owner, dead_owner ~= '' and rec.owner == dead_owner
  -- If the dead one lives after all, the fence stops its attempt.
  if left > 0 and not is_mine and not is_of_dead then return { 'busy', whole(left) } end
  if is_starting and not is_again and rec.image_ref ~= new.image_ref and rec.source_ref ~= gone then
    return { 'blocked', rec.source_ref }
  end
  -- An attempt that may have begun on a host is finished there, and a container that must go is removed there.
  if is_elsewhere and (is_starting or rec.condemned ~= '') then return { 'elsewhere', rec.host } end
  local full = is_full(key, hosts)
  if full then return full end
  raise_fence(key, rec)
  if rec.answer then keep_answer(key, rec) end
  new.fence, new.attempt, new.lease_until_ms, new.updated_at_ms = rec.fence, rec.attempt + 1, now_ms() + lease_ms, now_ms()
  if is_on_dead_host then
    -- What the dead host still has is removed when it comes back: its labels say a lower fence.
    new.condemned = ''
  else
    new.container_id, new.engine_endpoint = rec.container_id, rec.engine_endpoint
    new.condemned = is_dead and dead or rec.condemned
  end
  list(key, names)
  put(key, encode(new))
  return { 'go', whole(now_ms()), whole(new.fence), whole(new.attempt), new.condemned }
end
