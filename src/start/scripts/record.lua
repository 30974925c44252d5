-- What the verbs of a game's record share.
--
-- The key of each call is the record (`...:rec`): one JSON object whose members are in one order, `fence` and `owner` first,
-- so that the verbs of an ordinary start can tell by its first bytes whose it is and write a text that their caller has made.
-- The lease is `lease_until_ms`, and `owner` has it: it says only that an attempt is alive. What makes a write safe is `fence`
-- together with `owner`: a failover that loses writes may give one fence to two owners, but an owner has one attempt on a
-- game at a time. The record is never deleted. It is of one job (`stream`, `source_ref`), and with an `answer` it is
-- that job's answer too; the answers of other jobs are beside it (`...:res`, HASH by job), a further key of the verbs that
-- need them: begin and abandon.
local RESULTS_KEPT_MS, RESULTS_MAX = 604800000, 64
-- Lua's numbers are doubles: beyond this they do not rise by one any more.
local WHOLE_MAX = 9007199254740991
local YES, NO = { '1' }, { '0' }

local NUMBERS = { 'fence', 'lease_until_ms', 'updated_at_ms', 'attempt' }
local TEXTS = { 'state', 'image_ref', 'stream', 'source_ref', 'op_source', 'host', 'engine' }
local OWNER = { 'owner' }
-- Left out where they are empty.
local MORE_TEXTS = { 'condemned', 'container_id', 'engine_endpoint', 'exit_code', 'ended_at_ms', 'stopped_by' }
local ANSWER_TEXTS = { 'error_code', 'error_message', 'given_up' }

local function whole(number) return string.format('%.0f', number) end

-- How a record begins; the owner as JSON.
local function beginning(fence, owner, lease_until_ms, updated_at_ms, attempt)
  return '{"fence":' .. whole(fence) .. ',"owner":' .. owner .. ',"lease_until_ms":' .. whole(lease_until_ms)
    .. ',"updated_at_ms":' .. whole(updated_at_ms) .. ',"attempt":' .. whole(attempt)
end

-- Adds the members of these names; empty ones only `with_empty`.
local function add_texts(parts, object, names, with_empty)
  for _, name in ipairs(names) do
    local text = object[name]
    if with_empty or text ~= '' then parts[#parts + 1] = '"' .. name .. '":' .. cjson.encode(text) end
  end
  return parts
end

local function encode(rec)
  local owner = cjson.encode(rec.owner)
  local parts = { beginning(rec.fence, owner, rec.lease_until_ms, rec.updated_at_ms, rec.attempt) }
  add_texts(parts, rec, TEXTS, true)
  add_texts(parts, rec, MORE_TEXTS)
  if rec.answer then
    parts[#parts + 1] = '"answer":{' .. table.concat(add_texts({}, rec.answer, ANSWER_TEXTS), ',') .. '}'
  end
  return table.concat(parts, ',') .. '}'
end

local function damaged(key, what) error('KEYTYPE ' .. key .. ' holds no record of a game: ' .. what, 0) end

-- Redis's own words do not name the key.
local function refused(key, words)
  if string.find(words, 'WRONGTYPE', 1, true) == 1 then words = 'KEYTYPE ' .. key .. ' holds no stored answers' end
  error(words, 0)
end

local function check_texts(key, object, names, default)
  for _, name in ipairs(names) do
    if object[name] == nil then object[name] = default end
    if type(object[name]) ~= 'string' then damaged(key, name .. ' is no text') end
  end
end

-- A record without its numbers, as a table.
local function decode_texts(key, text)
  local fine, rec = pcall(cjson.decode, text)
  if not fine or type(rec) ~= 'table' then damaged(key, 'not a JSON object') end
  check_texts(key, rec, TEXTS)
  check_texts(key, rec, OWNER)
  check_texts(key, rec, MORE_TEXTS, '')
  if rec.answer ~= nil then
    if type(rec.answer) ~= 'table' then damaged(key, 'answer is no object') end
    check_texts(key, rec.answer, ANSWER_TEXTS, '')
  end
  return rec
end

-- The same of what a caller sent: the owner as JSON, and the record from the comma behind the numbers on.
local function decode_sent(key, owner, text) return decode_texts(key, '{"owner":' .. owner .. text) end

-- A record as a table. One that is damaged, or none of ours, is left as it is.
local function decode(key, text)
  local rec = decode_texts(key, text)
  for _, name in ipairs(NUMBERS) do
    local number = rec[name]
    -- cjson takes `nan` and `inf` for numbers too.
    if type(number) ~= 'number' or not (number >= 0 and number <= WHOLE_MAX and number % 1 == 0) then
      damaged(key, name .. ' is no whole number')
    end
  end
  return rec
end

-- The record of a game of which no attempt is known.
local function untouched()
  local rec = { fence = 0, lease_until_ms = 0, updated_at_ms = 0, attempt = 0, state = 'failed' }
  for _, names in ipairs({ TEXTS, OWNER, MORE_TEXTS }) do
    for _, name in ipairs(names) do rec[name] = rec[name] or '' end
  end
  return rec
end

-- Is the record held by this one? `holder` is how its text begins then: `{"fence":1,"owner":"me",`.
local function is_held_by(key, holder)
  local text = get(key)
  if not text then return false end
  if string.find(text, holder, 1, true) == 1 then return true end
  -- Held by another, or written otherwise: by an earlier version, or by hand.
  local rec = decode(key, text)
  local token, owner = string.match(holder, '^{"fence":(%d+),"owner":(".*"),$')
  return token == whole(rec.fence) and cjson.decode('[' .. owner .. ']')[1] == rec.owner
end

-- The record as a table where it is held by this one; nothing where it is not.
local function decode_held(key, holder) return is_held_by(key, holder) and decode(key, get(key)) or nil end

-- How much is left of a lease, where the one who asks takes leases of this length. One that ends further ahead than it is
-- long was taken before the server's clock went back, and nothing says that its owner is alive.
local function lease_left(rec, length)
  local left = rec.lease_until_ms - now_ms()
  return left <= math.max(rec.lease_until_ms - rec.updated_at_ms, tonumber(length)) and left or 0
end

local function raise_fence(key, rec)
  if rec.fence == WHOLE_MAX then damaged(key, 'its fence can rise no further') end
  rec.fence = rec.fence + 1
end

local function is_of_one_job(rec, other) return rec.source_ref == other.source_ref and rec.stream == other.stream end

local function results_of(key) return string.sub(key, 1, -4) .. 'res' end

local function job_of(rec) return rec.stream .. '/' .. rec.source_ref end

-- The answer of the record's job, as it is given when the job is asked about again; the outcome's own field names.
local function answer_of(rec)
  local outcome = rec.state == 'running' and 'success' or 'failure'
  local parts = add_texts({ '"outcome":"' .. outcome .. '"' }, rec, { 'container_id', 'engine_endpoint' }, true)
  return '{' .. table.concat(add_texts(parts, rec.answer, ANSWER_TEXTS, true), ',') .. '}'
end

-- Keeps the answer of a job beside the record; of too many, the oldest go.
local function keep_answer(key, rec)
  local results, job = results_of(key), job_of(rec)
  local kept = redis.pcall('HSET', results, job, answer_of(rec))
  if type(kept) == 'table' then refused(results, kept.err) end
  redis.call('PEXPIRE', results, RESULTS_KEPT_MS)
  if redis.call('HLEN', results) > RESULTS_MAX then
    local jobs = redis.call('HKEYS', results)
    -- `stream/ms-seq`: ids of one age have one length, and an order that is off by little harms nothing here.
    table.sort(jobs)
    redis.call('HDEL', results, jobs[1] == job and jobs[2] or jobs[1])
  end
end

-- Is this one of the names of the host that asks? `names`: all of them, each with a space before and behind it. A record that
-- no attempt has begun names no host.
local function is_here(host, names) return host == '' or string.find(names, ' ' .. host .. ' ', 1, true) ~= nil end

-- The game does not run any more. The answer of its job goes beside the record: as part of a record that is not running it
-- would read as a failure.
local function end_game(key, rec)
  if rec.answer then
    keep_answer(key, rec)
    rec.answer = nil
  end
  rec.state, rec.engine_endpoint, rec.lease_until_ms, rec.updated_at_ms = 'stopped', '', 0, now_ms()
end

-- What the job of another record has been answered, if it has.
local function answered(key, rec, other)
  if rec.answer and is_of_one_job(rec, other) then return answer_of(rec) end
  local stored = redis.pcall('HGET', results_of(key), job_of(other))
  if type(stored) == 'table' then refused(results_of(key), stored.err) end
  return stored
end
