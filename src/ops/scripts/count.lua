-- Counts a bounded page of a stream without sending its payloads. KEYS: the stream. ARGV: from, to, at most.
-- Answers how many there are, and the last one's id or ''.
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])
local last = entries[#entries]
return { #entries, last and last[1] or '' }
