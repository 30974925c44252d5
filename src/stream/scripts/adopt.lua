-- Makes the group usable: creates it where it is missing, and takes over what the legacy worker did while the fleet
-- was stopped.
--
-- CLAIM_IDLE: in ms. Answers: what was done, mirror, entries acknowledged without an outcome, and the
-- largest id that may have been delivered before: where anything is known about any entry, the stream's last one, because
-- the group may have been set back or lost meanwhile.
--   created   the group was missing; it begins right after the answered id
--   adopted   somebody moved the mirror forward: everything up to it counts as answered
--   foreign   somebody moved the mirror while other replicas run: nothing was taken over
--   exists    nothing to do
local CLAIM_IDLE = unpack(ARGV, 3)
local claim_idle = tonumber(CLAIM_IDLE)

local refused = wrong_type(MIRROR, 'string') or wrong_type(SHADOW, 'string') or wrong_type(LEDGERS, 'zset')
  or wrong_type(REPLICAS, 'hash') or wrong_type(SWEEP, 'hash') or wrong_type(VERIFIED, 'string')
  or wrong_type(ATTEMPTS, 'hash')
if refused then return refused end

local held, shadow = redis.call('GET', MIRROR), redis.call('GET', SHADOW)
if held and not id_parts(held) then return redis.error_reply('BADOFFSET ' .. MIRROR .. ' holds "' .. held .. '"') end
if held then
  local ms, seq = id_parts(held)
  if #ms > 20 or #seq > 20 or (#ms == 20 and ms > '18446744073709551615') or (#seq == 20 and seq > '18446744073709551615') then
    return redis.error_reply('BADOFFSET ' .. MIRROR .. ' holds "' .. held .. '"')
  end
  held = ms .. '-' .. seq
end

local _, last_generated = probe({})

local function delivered_before(delivered)
  if redis.call('EXISTS', LEDGERS, ATTEMPTS) > 0 then return last_generated end
  return delivered
end

local function others_present()
  local now = now_ms()
  for _, consumer in ipairs(redis.call('HKEYS', REPLICAS)) do
    local presence = consumer ~= ME and presence_of(consumer)
    if presence and is_fresh(presence, now, claim_idle) then return true end
  end
  return false
end

-- Every id that is pending up to `last`, in lists of at most 500.
local function pending_up_to(last)
  local lists, from = {}, '-'
  while true do
    local ids = {}
    for _, pending in ipairs(redis.call('XPENDING', JOBS, GROUP, from, last, 500)) do ids[#ids + 1] = pending[1] end
    if #ids == 0 then return lists end
    lists[#lists + 1] = ids
    from = '(' .. ids[#ids]
  end
end

local delivered, missing = last_delivered()
if not delivered then
  -- A mirror beyond the stream's end belongs to a stream that is gone: this one begins anew.
  local start = held or '0-0'
  if compare_ids(start, last_generated) > 0 then start = '0-0' end
  local created = redis.pcall('XGROUP', 'CREATE', JOBS, GROUP, start, 'MKSTREAM')
  if type(created) == 'table' and created.err then return redis.error_reply(created.err) end
  -- What lies between the verified id and the mirror may have fallen out of the group that is gone, unanswered: the janitor
  -- walks on from there. Where somebody else moved the mirror, everything up to it counts as answered.
  local verified = redis.call('GET', VERIFIED)
  local is_ours = held and held == shadow and verified and id_parts(verified) and compare_ids(verified, start) < 0
  redis.call('MSET', MIRROR, start, SHADOW, start, VERIFIED, is_ours and verified or start)
  redis.call('DEL', SWEEP)
  return { 'created', start, 0, delivered_before(start) }
end

local moved_forward = held and held ~= shadow and (not shadow or compare_ids(held, shadow) > 0)
  and compare_ids(held, last_generated) <= 0
if not moved_forward then
  local _, mark = write_mirror(delivered)
  if redis.call('EXISTS', VERIFIED) == 0 then redis.call('SET', VERIFIED, mark) end
  return { 'exists', mark, 0, delivered_before(delivered) }
end
if others_present() then return { 'foreign', held, 0, delivered_before(delivered) } end

local acknowledged, lists = 0, pending_up_to(held)
for _, ids in ipairs(lists) do
  local refusal = undeclared(ids)
  if refusal then return refusal end
end
for _, ids in ipairs(lists) do
  add_to_ledger(ids)
  redis.call('XACK', JOBS, GROUP, unpack(ids))
  forget_attempts(ids)
  acknowledged = acknowledged + #ids
end
if compare_ids(held, delivered) > 0 then
  redis.call('XGROUP', 'SETID', JOBS, GROUP, held)
  delivered = held
end
local verified = redis.call('GET', VERIFIED)
if not verified or not id_parts(verified) or compare_ids(held, verified) > 0 then redis.call('SET', VERIFIED, held) end
local _, mark = write_mirror(delivered)
return { 'adopted', mark, acknowledged, delivered_before(delivered) }
