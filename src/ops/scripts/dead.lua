-- Dead letters from a time on, by reason, without sending what is in them. COUNT: entries at most.
-- Answers how many were looked at, and per reason: reason, how many, the first one's id.
local FROM, COUNT = unpack(ARGV)
local entries = redis.call('XRANGE', DEAD, FROM, '+', 'COUNT', COUNT)
local rows, by_reason = {}, {}
for _, entry in ipairs(entries) do
  local reason = ''
  -- Of repeated names the first is ours.
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'reason' then
      reason = entry[2][i + 1]
      break
    end
  end
  local row = by_reason[reason]
  if not row then
    row = { reason, 0, entry[1] }
    by_reason[reason] = row
    rows[#rows + 1] = row
  end
  row[2] = row[2] + 1
end
return { #entries, rows }
