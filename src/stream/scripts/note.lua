-- What an operator has done, at the end of the events. VALUES: one for each of EVENT_FIELDS, a MessagePack array.
local VALUES = unpack(ARGV, 2)
local refused = wrong_type(EVENTS, 'stream')
if refused then return refused end
append_events(cmsgpack.unpack(VALUES))
return 1
