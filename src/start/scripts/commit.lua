-- Ends an attempt: record and answer in one step, and the lease goes. holder, the record as it is to be.
-- Answers 1, or 0 where fenced.
function verbs.commit(key, call)
  if not is_held_by(key, call[2]) then return NO end
  put(key, call[3])
  return YES
end
