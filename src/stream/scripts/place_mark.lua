-- Notes what an operator wants done with one entry, or answers it as cancelled where no replica has ever had it.
--
-- An entry that a replica has, or had, gets a mark: whoever holds it obeys. One that no replica has read is taken out of the stream
-- in the same step that answers it: what is not there nothing reads, so no read has to ask.
-- KIND: `cancel` or `retry`; BY: who wants it; REASON: why; LEDGER_TTL: in ms; OUTCOME: names and values of the outcome as one
-- MessagePack array of texts, or '' where the entry is to be marked all the same.
-- Answers a word, and more where it says so:
--   marked     the consumer that holds it, or '' where none does
--   answered   the id of the outcome: nothing had begun, and it is cancelled
--   before     it had such a mark: when (server ms), who, why
--   settled    it is answered, or a dead letter
--   waiting    no replica has read it (`retry` only)
--   passed     the offset is past it: another program counts it as answered
--   old        too old for the ledger to tell whether it was answered
--   gone       it is not in the stream any more
--   unknown    the stream has never had it
local ID, KIND, BY, REASON, LEDGER_TTL, OUTCOME = unpack(ARGV, 2)
local bucket = ledger_bucket(ID)
local refused = wrong_type(JOBS, 'stream') or wrong_type(RESULTS, 'stream') or wrong_type(ATTEMPTS, 'hash')
  or wrong_type(LEDGERS, 'zset') or wrong_type(bucket, 'set') or wrong_type(MIRROR, 'string') or wrong_type(SHADOW, 'string')
if refused then return refused end
if redis.call('SMISMEMBER', bucket, ID)[1] == 1 then return { 'settled' } end
local before = marks_of_kind(KIND, { ID })[ID]
if before then return { 'before', before.ms, before.by, before.reason } end
if redis.call('EXISTS', JOBS) == 0 then return { 'unknown' } end

-- The replica that holds it asks at once.
local function mark(consumer)
  redis.call('HSET', ATTEMPTS, KIND .. ':' .. ID, mark_text(BY, REASON))
  if consumer ~= '' then hint(consumer) end
  return { 'marked', consumer }
end

-- What may be refused is asked for before the first write that counts; the last one takes the entry away.
local function answer()
  redis.call('XDEL', JOBS, '0-0')
  redis.call('SADD', bucket, '-')
  redis.call('ZADD', LEDGERS, now_ms(), bucket)
  local outcome = redis.call('XADD', RESULTS, '*', unpack(cmsgpack.unpack(OUTCOME)))
  redis.call('SADD', bucket, ID)
  redis.call('XDEL', JOBS, ID)
  return { 'answered', outcome }
end

local delivered = last_delivered()
local pending = delivered and redis.call('XPENDING', JOBS, GROUP, ID, ID, 1)[1]
if pending then return mark(pending[2]) end
if #redis.call('XRANGE', JOBS, ID, ID) == 0 then
  local info = redis.call('XINFO', 'STREAM', JOBS)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' and compare_ids(ID, info[i + 1]) > 0 then return { 'unknown' } end
  end
  return { 'gone' }
end
if tonumber((id_parts(ID))) < now_ms() - tonumber(LEDGER_TTL) then return { 'old' } end
-- It has fallen out of the pending list, and the janitor puts it back.
if delivered and compare_ids(ID, delivered) <= 0 then return mark('') end
local held, shadow = unpack(redis.call('MGET', MIRROR, SHADOW))
local is_foreign = held and id_parts(held) and held ~= shadow
if is_foreign and (not delivered or compare_ids(ID, held) <= 0) then return { 'passed' } end
if KIND == 'retry' then return { 'waiting' } end
return OUTCOME == '' and mark('') or answer()
