-- Puts dead letters back: for each, the job with its original pairs, the dead letter's removal and the link between
-- the two ids, in one step. Two operators with the same dead letter append one job: the second finds it gone.
--
-- LOG_MAX: how many links the log of requeued ones keeps at least; IDS: of dead letters, as one MessagePack array; BY: who
-- asked for it. HEAD, the names of a dead letter's own fields, is in the header.
-- Answers per id, in order: what became of it, and the new id or Redis's error text.
--   requeued   back in the jobs stream under the new id
--   gone       there is no such dead letter (any more)
--   foreign    the entry is not a dead letter of the fleet
--   empty      it kept no payload (entry_lost)
--   cut        it did not keep the whole payload
--   refused    Redis did not take the job; nothing was written for this id
--   skipped    not reached because one before it was refused
local LOG_MAX, IDS, BY = unpack(ARGV)

-- 6.2 with `lua-replicate-commands no` refuses writes after reads that are not repeatable without this.
if redis.replicate_commands then redis.replicate_commands() end

-- Lua passes about 8,000 arguments to one command.
local ARGUMENTS_MAX = 7000

-- Whatever can be refused is checked before the first write.
for _, key in ipairs(KEYS) do
  local held = redis.call('TYPE', key)
  held = held.ok or held
  if held ~= 'none' and held ~= 'stream' then
    return redis.error_reply('KEYTYPE ' .. key .. ' holds a ' .. held .. ' where a stream is expected')
  end
end
-- So is the right to remove: without it each attempt would append the job once more.
redis.call('XDEL', DEAD, '0-0')

local function is_dead_letter(fields)
  for position, name in ipairs(HEAD) do
    if fields[2 * position - 1] ~= name then return false end
  end
  return true
end

local function is_cut(fields)
  if #fields > ARGUMENTS_MAX then return true end
  -- The last such words, and only with the number that it really kept: an error message may hold them too.
  local kept = string.match(fields[6], '.*; kept the first (%d+) of %d')
  return kept and tonumber(kept) == #fields / 2 - #HEAD
end

local function requeue(id)
  local entry = redis.call('XRANGE', DEAD, id, id)[1]
  if not entry then return { 'gone', '' } end
  local fields = entry[2]
  if not is_dead_letter(fields) then return { 'foreign', '' } end
  if #fields == 2 * #HEAD then return { 'empty', '' } end
  if is_cut(fields) then return { 'cut', '' } end
  local source, reason, first = fields[2], fields[4], 2 * #HEAD + 1
  fields[#fields + 1] = 'requeued_from'
  fields[#fields + 1] = source
  local job = redis.pcall('XADD', JOBS, '*', unpack(fields, first))
  if type(job) == 'table' then return { 'refused', job.err } end
  -- The removal comes before the link: without a link the job still names its source, but with the dead letter still
  -- there it could be appended again.
  redis.call('XDEL', DEAD, id)
  redis.call('XADD', LOG, 'MAXLEN', '~', LOG_MAX, '*', 'dead_id', id, 'source_ref', source, 'reason', reason,
    'job_id', job, 'by', BY)
  return { 'requeued', job }
end

local answers, is_refused = {}, false
for _, id in ipairs(cmsgpack.unpack(IDS)) do
  local answer = is_refused and { 'skipped', '' } or requeue(id)
  is_refused = is_refused or answer[1] == 'refused'
  answers[#answers + 1] = answer
end
return answers
