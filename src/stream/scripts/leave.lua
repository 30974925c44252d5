-- A clean exit: marks the replica as gone, gives back what its consumer still has pending, and deletes the consumer only
-- where it holds nothing, in this one step (XGROUP DELCONSUMER silently drops what the consumer still has pending).
-- Otherwise the claim that takes its last entry deletes it.
--
-- A replica that was declared dead leaves too: it lives, and goes on under another name. The crashes that were counted against
-- what it held are taken back.
--
-- ABOUT: JSON about the replica. Answers how many entries the consumer still had, and how many crashes were taken back.
local ABOUT = unpack(ARGV, 3)
local STEP, STEPS_MAX = 1000, 10
local taken_back = 0
if not wrong_type(ATTEMPTS, 'hash') then
  -- The list first: where the rights lack HDEL nothing is taken back, and so nothing twice.
  local charged = charges_of(ME)
  if #charged > 0 then redis.call('HDEL', ATTEMPTS, 'charges:' .. ME) end
  for _, id in ipairs(charged) do
    if take_back(id) then taken_back = taken_back + 1 end
  end
end
-- Nothing that it said of its jobs is true any more. A key of another type is no reason to stay.
redis.pcall('HDEL', OPEN, ME)
-- What an operator wanted of it is done.
redis.pcall('HDEL', ATTEMPTS, 'drain:' .. ME)
local first = redis.pcall('XPENDING', JOBS, GROUP, '-', '+', STEP, ME)
if first.err then return { 0, taken_back } end
if not wrong_type(REPLICAS, 'hash') then be_present('left', ABOUT) end
if #first == 0 then
  redis.pcall('XGROUP', 'DELCONSUMER', JOBS, GROUP, ME)
  return { 0, taken_back }
end
local found, pending = 0, first
for step = 1, STEPS_MAX do
  local ids = {}
  for _, entry in ipairs(pending) do ids[#ids + 1] = entry[1] end
  give_back(ids)
  found = found + #ids
  if #ids < STEP or step == STEPS_MAX then break end
  pending = redis.call('XPENDING', JOBS, GROUP, '(' .. ids[#ids], '+', STEP, ME)
end
make_sweep_due()
return { found, taken_back }
