-- Counts a bounded page of the jobs stream without sending its payloads. COUNT: entries at most.
-- Answers how many there are, and the last one's id or ''.
local FROM, TO, COUNT = unpack(ARGV)
local entries = redis.call('XRANGE', JOBS, FROM, TO, 'COUNT', COUNT)
local last = entries[#entries]
return { #entries, last and last[1] or '' }
