-- Withdraws failures that were counted of entries because the host of an attempt was sick. Another consumer may have such an
-- entry by now: the counts belong to the entry. What was settled meanwhile has none any more. No count falls below zero, so a
-- call that is repeated withdraws no more than there is.
--
-- COUNTS: as one MessagePack array: for each entry its id and how many failures. Answers how many were withdrawn.
local COUNTS = unpack(ARGV, 3)
local refused = wrong_type(ATTEMPTS, 'hash')
if refused then return refused end
local counts, withdrawn = cmsgpack.unpack(COUNTS), 0
for i = 1, #counts, 2 do
  local id, times = counts[i], tonumber(counts[i + 1])
  local crashes, failures, since = attempts_of(id)
  if failures > 0 and redis.call('XPENDING', JOBS, GROUP, id, id, 1)[1] then
    local left = math.max(failures - times, 0)
    withdrawn = withdrawn + failures - left
    if left > 0 then
      write_attempts(id, crashes, left, since)
    else
      -- Its next failure is its first again, and its age counts from there.
      redis.call('HDEL', ATTEMPTS, 'age:' .. id)
      if crashes > 0 then write_attempts(id, crashes, 0, 0) else redis.call('HDEL', ATTEMPTS, id) end
    end
  end
end
return withdrawn
