-- The price of the work without any safety: publish, acknowledge, write the offset. No fence, no ledger, no checks.
-- FIELDS: how many an outcome has. Then follow per entry its id and the values.
local GROUP, FIELDS = unpack(ARGV, 1, 2)
local jobs, results, offset = unpack(KEYS)
local count = tonumber(FIELDS)
local ids = {}
for at = 3, #ARGV, count + 1 do
  ids[#ids + 1] = ARGV[at]
  if count == 6 then
    redis.call('XADD', results, '*', 'game_id', ARGV[at + 1], 'outcome', ARGV[at + 2], 'container_id', ARGV[at + 3],
      'engine_endpoint', ARGV[at + 4], 'error_code', ARGV[at + 5], 'error_message', ARGV[at + 6])
  else
    redis.call('XADD', results, '*', 'game_id', ARGV[at + 1], 'outcome', ARGV[at + 2], 'container_id', ARGV[at + 3],
      'engine_endpoint', ARGV[at + 4], 'error_code', ARGV[at + 5], 'error_message', ARGV[at + 6],
      'source_ref', ARGV[at + 7], 'requested_at_ms', ARGV[at + 8], 'finished_at_ms', ARGV[at + 9],
      'attempt', ARGV[at + 10])
  end
end
redis.call('XACK', jobs, GROUP, unpack(ids))
redis.call('SET', offset, ids[#ids])
return #ids
