-- What is known about entries that have just come into this process's hands.
--
-- IDS: as one MessagePack array. Answers nothing where nothing is known about any of them, which is
-- nearly always; else per id, in order: settled (1 or 0), crashes, service failures; and then the marks of those that are to
-- be cancelled, for each its id, when it was placed (ms), who wants it, and why.
local IDS = unpack(ARGV, 2)
local refused = wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local ids = cmsgpack.unpack(IDS)
local refusal = undeclared(ids)
if refusal then return refusal end
local bucket = ledger_bucket(ids[1])
local one_bucket = bucket == ledger_bucket(ids[#ids]) and #ids <= 1000
local settled, any = {}, redis.call('EXISTS', ATTEMPTS) == 1
if one_bucket then
  for position, is_member in ipairs(redis.call('SMISMEMBER', bucket, unpack(ids))) do
    if is_member == 1 then settled[ids[position]] = true; any = true end
  end
else
  settled = in_ledger(ids)
  any = any or next(settled) ~= nil
end
if not any then return false end
local past, cancelled = {}, {}
local marks = marks_of_kind('cancel', ids)
for _, id in ipairs(ids) do
  local crashes, failures = attempts_of(id)
  past[#past + 1] = settled[id] and 1 or 0
  past[#past + 1] = crashes
  past[#past + 1] = failures
  local mark = marks[id]
  if mark and not settled[id] then
    for _, word in ipairs({ id, mark.ms, mark.by, mark.reason }) do cancelled[#cancelled + 1] = word end
  end
end
return { past, cancelled }
