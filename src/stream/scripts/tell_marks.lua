-- What operators want done with these entries: for each that has a mark its id, `cancel` or `retry`, when the mark was placed (ms),
-- who wants it, and why. Another attempt is asked for once: that mark is taken away with the answer.
local function marks_of(ids)
  local wanted = {}
  for _, kind in ipairs({ 'retry', 'cancel' }) do
    local marks = marks_of_kind(kind, ids)
    for _, id in ipairs(ids) do
      local mark = marks[id]
      if mark then
        for _, word in ipairs({ id, kind, mark.ms, mark.by, mark.reason }) do wanted[#wanted + 1] = word end
        if kind == 'retry' then redis.call('HDEL', ATTEMPTS, 'retry:' .. id) end
      end
    end
  end
  return wanted
end


-- Whether operators want this replica to drain: since when (ms), who wants it, and why; empty where not.
local function drain_of(consumer)
  local value = redis.call('HGET', ATTEMPTS, 'drain:' .. consumer)
  if not value then return {} end
  local mark = mark_of(value)
  return { mark.ms, mark.by, mark.reason }
end
