-- The janitor: bounded tidying, one run in the fleet per interval.
--
-- The times are in ms. INDEX_WITHIN: how much older the ledger's index may be than its buckets; TRIM: `1` or `0`; RETENTION: of
-- the results, or 0; WALK_MAX: ids to walk at most.
-- Answers nothing where it is not due; else: consumers removed, orphans put back (ids), ledger buckets dropped,
-- whether the walk has more before it (1 or 0).
local INTERVAL, CLAIM_IDLE, CONSUMER_IDLE, LEDGER_TTL, INDEX_WITHIN, TRIM, RETENTION, WALK_MAX = unpack(ARGV, 3)
local interval, claim_idle, consumer_idle = tonumber(INTERVAL), tonumber(CLAIM_IDLE), tonumber(CONSUMER_IDLE)
local ledger_ttl, index_within, trim = tonumber(LEDGER_TTL), tonumber(INDEX_WITHIN), TRIM == '1'
local retention, walk_max = tonumber(RETENTION), tonumber(WALK_MAX)
local CONSUMERS_MAX, BUCKETS_MAX = 500, 4

local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(LEDGERS, 'zset')
  or wrong_type(MIRROR, 'string') or wrong_type(SHADOW, 'string') or wrong_type(VERIFIED, 'string')
  or wrong_type(RESULTS, 'stream') or wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local now = now_ms()
local due = tonumber(redis.call('HGET', SWEEP, 'janitor_due') or '0') or 0
if now < due and due <= now + 2 * interval then return false end
local delivered, missing = last_delivered()
if not delivered then return redis.error_reply(missing) end

-- Consumers that hold nothing and have not been heard of. Seen empty and deleted in this one step: DELCONSUMER drops
-- what a consumer still holds.
local function remove_consumers()
  local removed = 0
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', JOBS, GROUP)) do
    local fields = {}
    for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
    local name, presence = fields['name'], presence_of(fields['name'])
    local lives = presence and is_fresh(presence, now, claim_idle)
    local idle = fields['idle']
    if presence and now - presence.seen < idle then idle = now - presence.seen end
    if removed < CONSUMERS_MAX and fields['pending'] == 0 and not lives and idle >= consumer_idle then
      redis.call('XGROUP', 'DELCONSUMER', JOBS, GROUP, name)
      redis.call('HDEL', REPLICAS, name)
      redis.call('HDEL', ATTEMPTS, 'charges:' .. name, 'drain:' .. name)
      removed = removed + 1
    end
  end
  return removed
end

-- What is charged to a dead replica is forgotten with the last of these entries.
local function forget_charges(name)
  local ids = charges_of(name)
  for _, id in ipairs(ids) do
    if redis.call('HGET', ATTEMPTS, id) then return end
  end
  if #ids > 0 then redis.call('HDEL', ATTEMPTS, 'charges:' .. name) end
end

-- Presence outlives its consumer by consumer-idle, so that a clean exit is still known as one.
local function forget_presence()
  local forgotten = {}
  for _, name in ipairs(redis.call('HKEYS', REPLICAS)) do
    local presence = presence_of(name)
    if presence and presence.state == 'dead' then forget_charges(name) end
    if not presence or now - presence.seen >= consumer_idle then
      if #redis.call('XPENDING', JOBS, GROUP, '-', '+', 1, name) == 0 then
        forgotten[#forgotten + 1] = name
        redis.call('HDEL', ATTEMPTS, 'drain:' .. name)
        if presence and presence.state == 'dead' then redis.call('HDEL', ATTEMPTS, 'charges:' .. name) end
      end
    end
  end
  each_thousand(forgotten, function(...) redis.call('HDEL', REPLICAS, ...) end)
end

-- What replicas that are gone said of their jobs. Readers believe no replica that is not there, so this only saves memory.
local function forget_open()
  if wrong_type(OPEN, 'hash') then return end
  local forgotten = {}
  for _, name in ipairs(redis.call('HKEYS', OPEN)) do
    local presence = presence_of(name)
    if not presence or not is_fresh(presence, now, claim_idle) then forgotten[#forgotten + 1] = name end
  end
  each_thousand(forgotten, function(...) redis.call('HDEL', OPEN, ...) end)
end

-- Buckets to which nothing was added for ledger-ttl, as far as the index can tell. UNLINK, because a bucket may hold a
-- million ids.
local function drop_buckets(old)
  for _, bucket in ipairs(old) do
    if declared[bucket] then redis.call('UNLINK', bucket) end
    redis.call('ZREM', LEDGERS, bucket)
  end
end

-- The orphan walk: entries up to last-delivered that are neither pending nor in the ledger have fallen out of the group
-- unanswered (an operator's XGROUP DELCONSUMER, say) and are put back, claimable at once.
--
-- No command lists ids alone: an entry costs the copying of its payload. So the walk goes through the gaps between pending
-- ids, looks at each settled entry once and never goes back; the pending ones that it has passed are remembered (`watched`),
-- and looked up again by their ids on every run. `verified` is the id up to which all are known to be settled.
local WATCHED_MAX = 4096
-- In one run: bytes of payloads; beyond it the next run goes on. What one XRANGE answers doubles from one entry on, as long
-- as no entry was large.
local WALK_BYTES_MAX, CHUNK_MAX, LARGE_ENTRY = 262144, 32, 4096
-- Pending entries that one run passes: the gap before each costs a command.
local ROWS_MAX = 500

local function is_pending(id)
  return #redis.call('XPENDING', JOBS, GROUP, id, id, 1) > 0
end

local function size_of(entry)
  local bytes = 0
  for _, text in ipairs(entry[2]) do bytes = bytes + #text end
  return bytes
end

local function load_walk()
  local verified = redis.call('GET', VERIFIED)
  -- Without it there is no telling what was answered before: begin at the watermark, and put nothing back by guess.
  if not verified or not id_parts(verified) then verified = watermark(delivered) or '0-0' end
  -- A stream that begins anew has lower ids.
  if compare_ids(verified, delivered) > 0 then verified = delivered end
  local cursor, listed = unpack(redis.call('HMGET', SWEEP, 'walked_to', 'watched'))
  if not cursor or not id_parts(cursor) or compare_ids(cursor, verified) < 0 then cursor, listed = verified, '' end
  if compare_ids(cursor, delivered) > 0 then cursor = delivered end
  local watched = {}
  for id in string.gmatch(listed or '', '%d+%-%d+') do
    if compare_ids(id, verified) > 0 and compare_ids(id, cursor) <= 0 then watched[#watched + 1] = id end
  end
  return verified, cursor, watched
end

-- Of the watched ids those that are still pending, and those that are not.
local function recheck(watched)
  if #watched == 0 then return {}, {} end
  local pending, still, gone = {}, {}, {}
  for _, row in ipairs(redis.call('XPENDING', JOBS, GROUP, watched[1], watched[#watched], #watched)) do
    pending[row[1]] = true
  end
  for _, id in ipairs(watched) do
    local list = (pending[id] or is_pending(id)) and still or gone
    list[#list + 1] = id
  end
  return still, gone
end

-- What lies between the cursor and last-delivered: pending ids, the ids of other entries, how far this went, and whether
-- there is more.
local function look_ahead(cursor, room)
  local pending, others, bytes, chunk = {}, {}, 0, 1
  local at = cursor
  local function walk_gap(to)
    while true do
      if #others >= walk_max or bytes >= WALK_BYTES_MAX then return false end
      local entries = redis.call('XRANGE', JOBS, '(' .. at, to, 'COUNT', chunk)
      local largest = 0
      for _, entry in ipairs(entries) do
        others[#others + 1] = entry[1]
        local size = size_of(entry)
        bytes, largest, at = bytes + size, math.max(largest, size), entry[1]
      end
      if #entries < chunk then return true end
      chunk = largest < LARGE_ENTRY and math.min(chunk * 2, CHUNK_MAX) or 1
    end
  end
  while compare_ids(at, delivered) < 0 do
    local rows = redis.call('XPENDING', JOBS, GROUP, '(' .. at, delivered, ROWS_MAX)
    for _, row in ipairs(rows) do
      if #pending >= room then return pending, others, at, false end
      if not walk_gap('(' .. row[1]) then return pending, others, at, true end
      pending[#pending + 1] = row[1]
      at = row[1]
    end
    if #rows == ROWS_MAX then return pending, others, at, true end
    if not walk_gap(delivered) then return pending, others, at, true end
    at = delivered
  end
  return pending, others, at, false
end

-- Decides what is to be done, and writes nothing. Answers the refusal where the ledger's buckets are not declared.
local function plan_walk()
  local verified, cursor, watched = load_walk()
  local still, gone = recheck(watched)
  local pending, others, at, more = look_ahead(cursor, WATCHED_MAX - #still)
  local open, unknown, done = {}, {}, {}
  for _, list in ipairs({ gone, others }) do
    for _, id in ipairs(list) do
      -- Of what is older than the ledger nothing is known any more, and nothing could have worked on it for so long; so a
      -- long history asks for no more buckets than the ledger has.
      local into = tonumber((id_parts(id))) < now - ledger_ttl and done or open
      into[#into + 1] = id
    end
  end
  local refusal = undeclared(open)
  if refusal then return nil, refusal end
  local settled = in_ledger(open)
  for _, id in ipairs(open) do
    local list = settled[id] and done or unknown
    list[#list + 1] = id
  end
  -- Before an entry is taken for an orphan its own pending record is looked up, and whether it is there at all.
  local found, orphans = #unknown > 0 and probe(unknown) or {}, {}
  for _, id in ipairs(unknown) do
    if is_pending(id) then
      still[#still + 1] = id
    elseif found[id] then
      orphans[#orphans + 1] = id
      still[#still + 1] = id
    end
  end
  for _, id in ipairs(pending) do still[#still + 1] = id end
  table.sort(still, function(one, other) return compare_ids(one, other) < 0 end)
  if #still == 0 then
    verified = at
  else
    for _, id in ipairs(done) do
      if compare_ids(id, still[1]) < 0 and compare_ids(id, verified) > 0 then verified = id end
    end
  end
  return { orphans = orphans, done = done, watched = still, at = at, more = more, verified = verified }
end

-- Answers what has been put back.
local function write_walk(plan)
  -- What a settle did not know of, because it was written by another consumer meanwhile.
  forget_attempts(plan.done)
  for _, id in ipairs(plan.orphans) do
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'IDLE', GIVEN_BACK_IDLE_MS, 'FORCE', 'JUSTID')
  end
  redis.call('SET', VERIFIED, plan.verified)
  redis.call('HSET', SWEEP, 'walked_to', plan.at, 'watched', table.concat(plan.watched, ' '))
  if #plan.orphans > 0 then
    redis.call('HSET', SWEEP, 'due', 0, 'cursor', '-')
    write_mirror(delivered)
  end
end

local old_buckets = {}
for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', LEDGERS, '-inf',
  '(' .. string.format('%.0f', now - ledger_ttl - index_within), 'LIMIT', 0, BUCKETS_MAX)) do
  old_buckets[#old_buckets + 1] = bucket
end
do
  local hours = {}
  for _, bucket in ipairs(old_buckets) do
    local hour = string.sub(bucket, 1, #LEDGER) == LEDGER and string.match(bucket, '^%d+$', #LEDGER + 1)
    if hour then hours[#hours + 1] = hour end
  end
  refused = undeclared({}, hours)
  if refused then return refused end
end
local plan
plan, refused = plan_walk()
if refused then return refused end

local consumers = remove_consumers()
forget_presence()
forget_open()
drop_buckets(old_buckets)
write_walk(plan)
if trim then
  -- Never past the watermark computed here, nor past what the walk has not verified.
  local mark = watermark(delivered, nil, redis.call('GET', MIRROR))
  if mark then
    if compare_ids(plan.verified, mark) < 0 then mark = plan.verified end
    redis.call('XTRIM', JOBS, 'MINID', '~', mark)
  end
end
if retention > 0 then redis.call('XTRIM', RESULTS, 'MINID', '~', string.format('%.0f', now - retention)) end
redis.call('HSET', SWEEP, 'janitor_due', string.format('%.0f', plan.more and now + math.min(interval, 250) or now + interval))
return { consumers, plan.orphans, #old_buckets, plan.more and 1 or 0 }
