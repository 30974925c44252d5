-- Writing events down. Of each event there is one value for each of EVENT_FIELDS; the first is how many ms ago it was, and
-- becomes the time. What is empty is not written. A stream that takes no entry any more (its id has reached the end) is left
-- alone: no job depends on it.
local function append_events(values, replica)
  local now = now_ms()
  for first = 1, #values, #EVENT_FIELDS do
    local command = { 'XADD', EVENTS, 'MAXLEN', '~', EVENTS_KEPT, '*' }
    local ago = tonumber(values[first]) or 0
    values[first] = string.format('%.0f', math.max(now - ago, 0))
    for position, name in ipairs(EVENT_FIELDS) do
      local value = values[first + position - 1]
      if value and value ~= '' then
        command[#command + 1] = name
        command[#command + 1] = value
      end
    end
    if replica then
      command[#command + 1] = 'replica'
      command[#command + 1] = replica
    end
    redis.pcall(unpack(command))
  end
end

