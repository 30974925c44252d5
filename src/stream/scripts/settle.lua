-- Settles a batch: for each entry the fence, the outcome and/or the dead letter, the ledger, XACK; then the mirror.
--
-- ARGV: group, me, how many entries this consumer holds at most, dead-max, ledger-ttl in ms, smallest and largest id
-- of the batch, then per entry: id, verb and
--   `known`    nothing          (the ledger had it when it was read: acknowledge only)
--   `outcome`  n, n values of the outcome fields
--   `dead`     8 values of the dead letter's head, n, n original names and values
--   `both`     as `outcome`, then as `dead`
-- Answers: move of the mirror, watermark, foreign mirror value or '', then one status per entry, in order:
--   ok; dup (settled before); lost (another consumer has it); expired (put back: too old for the ledger to tell
--   whether it was settled); skipped (not reached); or Redis's error text.
local held_max, dead_max, ledger_ttl = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local refused = wrong_type(RESULTS, 'stream') or wrong_type(DEAD, 'stream') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string') or wrong_type(LEDGERS, 'zset') or wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local delivered, missing = last_delivered()
if not delivered then return redis.error_reply(missing) end

local entries, ids, at = {}, {}, 8
while at <= #ARGV do
  local entry = { id = ARGV[at], verb = ARGV[at + 1] }
  at = at + 2
  if entry.verb == 'outcome' or entry.verb == 'both' then
    entry.values, entry.count = at + 1, tonumber(ARGV[at])
    at = at + 1 + entry.count
  end
  if entry.verb == 'dead' or entry.verb == 'both' then
    entry.head, entry.kept = at, tonumber(ARGV[at + 8])
    at = at + 9 + entry.kept
  end
  entries[#entries + 1] = entry
  ids[#ids + 1] = entry.id
end

for bucket in pairs(by_bucket(ids)) do
  refused = wrong_type(bucket, 'set')
  if refused then return refused end
end

local mine = {}
for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, ARGV[6], ARGV[7], held_max, ME)) do
  mine[pending[1]] = true
end
local settled = in_ledger(ids)

local function publish_outcome(entry)
  local v = entry.values
  if entry.count == 6 then
    return redis.pcall('XADD', RESULTS, '*', 'game_id', ARGV[v], 'outcome', ARGV[v + 1], 'container_id', ARGV[v + 2],
      'engine_endpoint', ARGV[v + 3], 'error_code', ARGV[v + 4], 'error_message', ARGV[v + 5])
  end
  return redis.pcall('XADD', RESULTS, '*', 'game_id', ARGV[v], 'outcome', ARGV[v + 1], 'container_id', ARGV[v + 2],
    'engine_endpoint', ARGV[v + 3], 'error_code', ARGV[v + 4], 'error_message', ARGV[v + 5],
    'source_ref', ARGV[v + 6], 'requested_at_ms', ARGV[v + 7], 'finished_at_ms', ARGV[v + 8], 'attempt', ARGV[v + 9])
end

local function publish_dead(entry, outcome_id)
  local h, first = entry.head, entry.head + 9
  return redis.pcall('XADD', DEAD, 'MAXLEN', '~', dead_max, '*', 'source_ref', ARGV[h], 'reason', ARGV[h + 1],
    'detail', ARGV[h + 2], 'deliveries', ARGV[h + 3], 'crashes', ARGV[h + 4], 'failures', ARGV[h + 5],
    'dead_at_ms', ARGV[h + 6], 'consumer', ARGV[h + 7], 'outcome_id', outcome_id,
    unpack(ARGV, first, first + entry.kept - 1))
end

local function publish(entry)
  if not entry.values then return publish_dead(entry, '') end
  local outcome = publish_outcome(entry)
  if entry.head and not outcome.err then
    -- From here on the outcome stands: the ledger must say so before anything else can be refused.
    add_to_ledger({ entry.id })
    return publish_dead(entry, outcome)
  end
  return outcome
end

-- What to do with an entry that is not in this consumer's pending list: `publish`, or a status.
local function judge_absent(entry)
  local pending = redis.call('XPENDING', JOBS, GROUP, entry.id, entry.id, 1)[1]
  if pending then return pending[2] == ME and 'publish' or 'lost' end
  if settled[entry.id] then return 'dup' end
  if tonumber((id_parts(entry.id))) >= now_ms() - ledger_ttl then return 'publish' end
  if exists(entry.id) and compare_ids(entry.id, delivered) <= 0 then
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, entry.id, 'FORCE', 'JUSTID')
  end
  return 'expired'
end

local statuses, published, acknowledge, error_text = {}, {}, {}, nil
for position, entry in ipairs(entries) do
  local status
  if error_text then
    status = 'skipped'
  else
    local verdict = mine[entry.id] and 'publish' or judge_absent(entry)
    if verdict ~= 'publish' then
      status = verdict
    elseif settled[entry.id] or entry.verb == 'known' then
      status = settled[entry.id] and 'dup' or 'lost'
      if settled[entry.id] then acknowledge[#acknowledge + 1] = entry.id end
    else
      local reply = publish(entry)
      if reply.err then
        error_text = reply.err
        status = reply.err
      else
        status = 'ok'
        published[#published + 1] = entry.id
        acknowledge[#acknowledge + 1] = entry.id
      end
    end
  end
  statuses[position] = status
end

add_to_ledger(published)
each_thousand(acknowledge, function(...) redis.call('XACK', JOBS, GROUP, ...) end)
forget_attempts(acknowledge)
local move, mark, foreign = write_mirror(delivered)
return { move, mark, foreign, statuses }
