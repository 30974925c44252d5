-- The janitor: bounded tidying, one run in the fleet per interval.
--
-- ARGV: group, me, janitor interval ms, claim idle ms, consumer-idle ms, ledger-ttl ms, how much coarser the
-- ledger's index is in ms, trim (`1` or `0`),
-- results retention ms or 0, ids to walk at most.
-- Answers nothing where it is not due; else: consumers removed, orphans put back (ids), ledger buckets dropped,
-- whether the walk has more before it (1 or 0).
local interval, claim_idle, consumer_idle = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local ledger_ttl, index_within, trim = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1'
local retention, walk_max = tonumber(ARGV[9]), tonumber(ARGV[10])
local CONSUMERS_MAX, BUCKETS_MAX, HANDED_BACK_IDLE = 500, 4, 3600000

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
    local name, seen, state = fields['name'], presence_of(fields['name'])
    local lives = seen and seen + claim_idle >= now and state ~= 'left'
    local idle = fields['idle']
    if seen and now - seen < idle then idle = now - seen end
    if removed < CONSUMERS_MAX and fields['pending'] == 0 and not lives and idle >= consumer_idle then
      redis.call('XGROUP', 'DELCONSUMER', JOBS, GROUP, name)
      redis.call('HDEL', REPLICAS, name)
      removed = removed + 1
    end
  end
  return removed
end

-- Presence outlives its consumer by consumer-idle, so that a clean exit is still known as one.
local function forget_presence()
  local forgotten = {}
  for _, name in ipairs(redis.call('HKEYS', REPLICAS)) do
    local seen = presence_of(name)
    if not seen or now - seen >= consumer_idle then
      if #redis.call('XPENDING', JOBS, GROUP, '-', '+', 1, name) == 0 then forgotten[#forgotten + 1] = name end
    end
  end
  each_thousand(forgotten, function(...) redis.call('HDEL', REPLICAS, ...) end)
end

-- Buckets to which nothing was added for ledger-ttl, as far as the index can tell. UNLINK, because a bucket may hold a
-- million ids.
local function drop_buckets()
  local before = string.format('%.0f', now - ledger_ttl - index_within)
  local old = redis.call('ZRANGEBYSCORE', LEDGERS, '-inf', '(' .. before, 'LIMIT', 0, BUCKETS_MAX)
  for _, bucket in ipairs(old) do
    redis.call('UNLINK', bucket)
    redis.call('ZREM', LEDGERS, bucket)
  end
  return #old
end

-- The orphan walk: entries up to last-delivered that are neither pending nor in the ledger have fallen out of the group
-- unanswered (an operator's XGROUP DELCONSUMER, say) and are put back, claimable at once. `verified` is the id up to
-- which all are known to be settled; the cursor goes on from there and begins anew when it has reached the end.
local function walk()
  local verified = redis.call('GET', VERIFIED)
  -- Without it nobody can say what was answered before: begin at the watermark, and put nothing back by guess.
  if not verified or not id_parts(verified) then verified = watermark(delivered) or '0-0' end
  -- A stream that begins anew has lower ids.
  if compare_ids(verified, delivered) > 0 then verified = delivered end
  local cursor = redis.call('HGET', SWEEP, 'walked')
  if not cursor or not id_parts(cursor) or compare_ids(cursor, verified) < 0 then cursor = verified end
  local entries = redis.call('XRANGE', JOBS, '(' .. cursor, delivered, 'COUNT', walk_max)
  local ids = {}
  for i, entry in ipairs(entries) do ids[i] = entry[1] end
  local orphans, contiguous = {}, cursor == verified
  if #ids > 0 then
    local pending, first = {}, ids[1]
    for _, row in ipairs(redis.call('XPENDING', JOBS, GROUP, first, ids[#ids], #ids)) do pending[row[1]] = true end
    local settled, done = in_ledger(ids), {}
    for id in pairs(settled) do done[#done + 1] = id end
    -- What a settle did not know of, because it was written by somebody else meanwhile.
    forget_attempts(done)
    for _, id in ipairs(ids) do
      -- Older than the ledger: nobody can tell any more, and nobody could have worked on it for so long.
      local untold = tonumber((id_parts(id))) < now - ledger_ttl
      if not pending[id] and not settled[id] and not untold then
        orphans[#orphans + 1] = id
        redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'IDLE', HANDED_BACK_IDLE, 'FORCE', 'JUSTID')
      end
      contiguous = contiguous and not pending[id] and (settled[id] or untold)
      if contiguous then verified = id end
    end
  end
  local more = #ids == walk_max
  redis.call('SET', VERIFIED, verified)
  redis.call('HSET', SWEEP, 'walked', more and ids[#ids] or verified)
  if #orphans > 0 then
    redis.call('HSET', SWEEP, 'due', 0, 'cursor', '-')
    write_mirror(delivered)
  end
  return orphans, more, verified
end

local consumers = remove_consumers()
forget_presence()
local buckets = drop_buckets()
local orphans, more, verified = walk()
if trim then
  -- Never past the watermark computed here, nor past what the walk has not verified.
  local mark = watermark(delivered)
  if mark then
    if compare_ids(verified, mark) < 0 then mark = verified end
    redis.call('XTRIM', JOBS, 'MINID', '~', mark)
  end
end
if retention > 0 then redis.call('XTRIM', RESULTS, 'MINID', '~', string.format('%.0f', now - retention)) end
redis.call('HSET', SWEEP, 'janitor_due', string.format('%.0f', more and now + math.min(interval, 250) or now + interval))
return { consumers, orphans, buckets, more and 1 or 0 }
