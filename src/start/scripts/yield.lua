-- An attempt found that its game runs, under a fence that its record does not know of, with another image: the record was
-- lost. It is written again from the labels of the container, and the job is answered. holder: how the record begins; record:
-- as it is to be, from the comma behind its numbers on; owner: of the labels, as JSON; fence: that of the labels; answered:
-- the record of the job as a failure, likewise.
-- Answers 1, or 0 where the attempt is fenced.
function verbs.yield(key, holder, record, owner, fence, answered)
  local rec = decode_held(key, holder)
  if not rec then return NO end
  local mine = decode_sent(key, cjson.encode(rec.owner), answered)
  keep_answer(key, mine)
  local token = math.max(math.min(math.max(tonumber(fence) or 0, 0), WHOLE_MAX - 1), rec.fence) + 1
  put(key, beginning(token, owner, 0, now_ms(), rec.attempt) .. record)
  return YES
end
