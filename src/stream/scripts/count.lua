-- Counts what an operator's command has done in the history of the fleet. TALLY: names and numbers, one MessagePack array.
local TALLY = unpack(ARGV, 2)
local refused = wrong_type(MINUTES, 'hash') or wrong_type(HOURS, 'hash')
if refused then return refused end
tell_tally(cmsgpack.unpack(TALLY))
return 1
