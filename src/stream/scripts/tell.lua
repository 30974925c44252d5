-- What a replica tells operators of its work, and what they want of it. Nothing that is refused here keeps a job from its outcome.
--
-- OPEN: how many jobs back off, and the first of those that it holds and that do not run; EVENTS: what happened; TALLY: what was done since the last call; IDS: of the
-- entries for which it asks. Each is one MessagePack array of strings.
-- Answers what operators want: of the entries, as `marks_of` says it; and of this replica, as `drain_of` says it.
local CONSUMER, PACKED_OPEN, PACKED_EVENTS, PACKED_TALLY, IDS = unpack(ARGV, 2)
local refused = wrong_type(ATTEMPTS, 'hash') or wrong_type(OPEN, 'hash') or wrong_type(EVENTS, 'stream')
  or wrong_type(MINUTES, 'hash') or wrong_type(HOURS, 'hash')
if refused then return refused end
tell_open(CONSUMER, cmsgpack.unpack(PACKED_OPEN))
tell_events(CONSUMER, cmsgpack.unpack(PACKED_EVENTS))
tell_tally(cmsgpack.unpack(PACKED_TALLY))
return { marks_of(cmsgpack.unpack(IDS)), drain_of(CONSUMER) }
