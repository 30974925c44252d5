-- What these replicas say of the jobs that they hold and that do not run. RECORD_MAX: bytes; a longer one is left out.
-- Answers names and records in turn.
local RECORD_MAX, NAMES = unpack(ARGV)
local held, flat = redis.call('TYPE', OPEN), {}
if (held.ok or held) ~= 'hash' then return flat end
for _, name in ipairs(cmsgpack.unpack(NAMES)) do
  local record = redis.call('HGET', OPEN, name)
  if record and #record <= tonumber(RECORD_MAX) then
    flat[#flat + 1] = name
    flat[#flat + 1] = record
  end
end
return flat
