-- How it is written down what operators want done with single entries. It follows the prelude.
--
-- Beside the attempts of an entry: `cancel:<id>`, to be answered as cancelled, and `retry:<id>`, to be tried again at once. The
-- value is `<server ms> <who>`, and on a line of its own why. It goes with the entry when that is settled; `retry:` also when a
-- replica has been told, and when an attempt has failed since.
local MARK_TEXT_MAX = 1024

-- The marks of this kind (`cancel` or `retry`) that these entries have, by id. Other programs may write to the hash, so what is
-- taken of a mark is bounded.
local function marks_of_kind(kind, ids)
  local marks = {}
  if redis.call('EXISTS', ATTEMPTS) == 0 then return marks end
  for first = 1, #ids, 1000 do
    local fields = {}
    for i = first, math.min(first + 999, #ids) do fields[#fields + 1] = kind .. ':' .. ids[i] end
    for i, value in ipairs(redis.call('HMGET', ATTEMPTS, unpack(fields))) do
      if value then
        local ms, by, reason = string.match(value, '^(%d+) ([^\n]*)\n(.*)$')
        marks[ids[first + i - 1]] = {
          ms = ms or '0',
          by = string.sub(by or '', 1, MARK_TEXT_MAX),
          reason = string.sub(reason or '', 1, MARK_TEXT_MAX),
        }
      end
    end
  end
  return marks
end

