-- Ends an attempt: record and answer in one step, and the lease goes. record: as it is to be.
-- Answers 1, or 0 where fenced.
function verbs.commit(key, holder, record)
  if not is_held_by(key, holder) then return NO end
  put(key, record)
  return YES
end
