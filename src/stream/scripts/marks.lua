-- How it is written down what operators want done with single entries, and with a replica. It follows the prelude.
--
-- Beside the attempts of an entry: `cancel:<id>`, to be answered as cancelled, and `retry:<id>`, to be tried again at once. The
-- value is `<server ms> <who>`, and on a line of its own why. It goes with the entry when that is settled; `retry:` also when a
-- replica has been told, and when an attempt has failed since. `drain:<consumer>` has the same value (drain.lua).
local MARK_TEXT_MAX = 1024

local function mark_text(by, reason)
  return string.format('%.0f', now_ms()) .. ' ' .. by .. '\n' .. reason
end

-- Other programs may write to the hash, so what is taken of a mark is bounded.
local function mark_of(value)
  local ms, by, reason = string.match(value, '^(%d+) ([^\n]*)\n(.*)$')
  return {
    ms = ms or '0',
    by = string.sub(by or '', 1, MARK_TEXT_MAX),
    reason = string.sub(reason or '', 1, MARK_TEXT_MAX),
  }
end

-- The marks of this kind (`cancel` or `retry`) that these entries have, by id.
local function marks_of_kind(kind, ids)
  local marks = {}
  if redis.call('EXISTS', ATTEMPTS) == 0 then return marks end
  for first = 1, #ids, 1000 do
    local fields = {}
    for i = first, math.min(first + 999, #ids) do fields[#fields + 1] = kind .. ':' .. ids[i] end
    for i, value in ipairs(redis.call('HMGET', ATTEMPTS, unpack(fields))) do
      if value then marks[ids[first + i - 1]] = mark_of(value) end
    end
  end
  return marks
end

