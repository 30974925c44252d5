-- Notes that an operator wants one replica to drain, and sends it a message.
--
-- Beside the attempts of entries: `drain:<consumer>`, with the same value as a mark. Its report answers it. It goes when the replica
-- leaves, or with its presence. Consumer names are never used again, so it concerns no other replica.
-- NAME: of the consumer; BY: who wants it; REASON: why.
-- Answers a word, and more where it says so:
--   asked      it was noted
--   before     it was noted before, and stays: when (server ms), who, why
--   gone       the replica has left, or was declared dead
--   unknown    there is no such replica
local NAME, BY, REASON = unpack(ARGV, 2)
local refused = wrong_type(REPLICAS, 'hash') or wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local presence = redis.call('HGET', REPLICAS, NAME)
if not presence then return { 'unknown' } end
local state = string.match(presence, '^%d+ (%a+) ')
if state == 'left' or state == 'dead' then return { 'gone' } end
local field = 'drain:' .. NAME
local before = redis.call('HGET', ATTEMPTS, field)
if before then
  hint(NAME)
  local mark = mark_of(before)
  return { 'before', mark.ms, mark.by, mark.reason }
end
redis.call('HSET', ATTEMPTS, field, mark_text(BY, REASON))
hint(NAME)
return { 'asked' }
