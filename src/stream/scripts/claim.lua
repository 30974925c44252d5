-- The claim sweep: takes over entries that nobody has touched for claim idle. One sweep in the fleet per interval.
--
-- Looks at a bounded window of the pending list from the fleet's cursor on, and takes an entry only after seeing that
-- its payload exists: XAUTOCLAIM and XCLAIM of 7.0 and later drop the pending record of a deleted entry whoever holds
-- it, and with it the only trace that somebody still works on it.
--
-- ARGV: group, me, claim idle in ms, sweep interval in ms, at most this many, `look` or `take`, dead-max.
-- Answers: state (`not-due`, `found`, `swept`), then for `take` the claimed entries
-- {id, deliveries, crashes, failures, age in ms of the first failed delivery, fields}, the number found lost, and the
-- previous owners with how many entries each had.
local claim_idle, interval, want = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local mode, dead_max = ARGV[6], ARGV[7]
local HANDED_BACK_IDLE = 3600000
local WINDOW_PER_ENTRY, WINDOW_MIN, WINDOW_MAX = 10, 64, 640

local refused = wrong_type(SWEEP, 'hash') or wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(DEAD, 'stream') or wrong_type(LEDGERS, 'zset') or wrong_type(MIRROR, 'string')
  or wrong_type(SHADOW, 'string')
if refused then return refused end

local now = now_ms()
local due, holder = tonumber(redis.call('HGET', SWEEP, 'due') or '0') or 0, redis.call('HGET', SWEEP, 'by')
-- A due time further ahead than two intervals was written before the server's clock went back.
local is_due = now >= due or due > now + 2 * interval
if not is_due and not (mode == 'take' and holder == ME) then return { 'not-due' } end

local cursor = redis.call('HGET', SWEEP, 'cursor')
if not cursor or not id_parts(cursor) then cursor = '-' end
local window_size = math.max(WINDOW_MIN, math.min(WINDOW_MAX, want * WINDOW_PER_ENTRY))
local window = redis.call('XPENDING', JOBS, GROUP, cursor == '-' and '-' or '(' .. cursor, '+', window_size)

local candidates, last = {}, nil
for _, pending in ipairs(window) do
  if tonumber(pending[3]) >= claim_idle then
    if #candidates == want then break end
    candidates[#candidates + 1] = { id = pending[1], owner = pending[2], idle = tonumber(pending[3]), count = pending[4] }
  end
  last = pending[1]
end
-- At the end of the list the next sweep begins at the front again.
local reached_end = #window < window_size and (not last or last == window[#window][1])

if mode == 'look' then
  if #candidates > 0 then
    redis.call('HSET', SWEEP, 'due', string.format('%.0f', now + interval), 'by', ME)
    return { 'found' }
  end
end
-- As many as wanted may mean that there are more: then the next sweep is due at once, for whoever has free slots.
redis.call('HSET', SWEEP, 'due', string.format('%.0f', #candidates == want and now or now + interval), 'by', ME,
  'cursor', reached_end and '-' or last or cursor)
if #candidates == 0 then return { 'swept', {}, 0, {} } end

local function died_with_it(candidate)
  if candidate.owner == ME or candidate.idle >= HANDED_BACK_IDLE then return false end
  local seen, state = presence_of(candidate.owner)
  return state ~= 'left' and (not seen or seen + claim_idle < now)
end

local claimed, lost, owners = {}, {}, {}
for _, candidate in ipairs(candidates) do
  local id = candidate.id
  local entry = redis.call('XRANGE', JOBS, id, id)[1]
  local crashes, failures, since = attempts_of(id)
  if entry then
    if died_with_it(candidate) then
      crashes = crashes + 1
      write_attempts(id, crashes, failures, since)
    end
    redis.call('XCLAIM', JOBS, GROUP, ME, 0, id, 'RETRYCOUNT', candidate.count + 1, 'JUSTID')
    owners[candidate.owner] = (owners[candidate.owner] or 0) + 1
    claimed[#claimed + 1] = { id, candidate.count + 1, crashes, failures, since > 0 and now - since or 0, entry[2] }
  else
    redis.call('XADD', DEAD, 'MAXLEN', '~', dead_max, '*', 'source_ref', id, 'reason', 'entry_lost',
      'detail', 'the payload was deleted from the stream while the entry was pending', 'deliveries', candidate.count,
      'crashes', crashes, 'failures', failures, 'dead_at_ms', string.format('%.0f', now), 'consumer', candidate.owner,
      'outcome_id', '')
    lost[#lost + 1] = id
  end
end
if #lost > 0 then
  add_to_ledger(lost)
  redis.call('XACK', JOBS, GROUP, unpack(lost))
  forget_attempts(lost)
  local delivered = last_delivered()
  if delivered then write_mirror(delivered) end
end
local from = {}
for owner, count in pairs(owners) do from[#from + 1] = { owner, count } end
return { 'swept', claimed, #lost, from }
