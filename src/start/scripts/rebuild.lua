-- The record of a game that runs was lost: it is written again, from the labels of its container. record: from the comma
-- behind its numbers on, as it is to be; owner: as JSON; fence: that of the labels.
-- Answers 1, or 0 where there is a record.
function verbs.rebuild(key, record, owner, fence)
  if get(key) then return NO end
  local token = math.min(math.max(tonumber(fence) or 0, 0), WHOLE_MAX - 1) + 1
  put(key, beginning(token, owner, 0, now_ms(), 1) .. record)
  return YES
end
