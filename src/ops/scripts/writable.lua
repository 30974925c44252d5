-- Would Redis take a write now? The command changes nothing: XX adds no member, and no ledger has an empty name. Redis refuses it
-- like every other write: without enough replicas, with its memory full, as a read-only replica, after a save that failed.
-- Answers the words of the refusal, or ''.
local answer = redis.pcall('ZADD', LEDGERS, 'XX', 0, '')
return type(answer) == 'table' and answer.err or ''
