-- What happened, at the end of the events.
local function tell_events(consumer, events)
  append_events(events, consumer)
end

