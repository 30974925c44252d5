-- A page of the events. ORDER: `XRANGE` or `XREVRANGE`; FIRST, LAST: its range; COUNT: entries at most; VALUE_MAX: bytes of a
-- value; NAME, WANTED: a field and its value, where the events that have it are wanted alone, or ''.
-- Answers how many were looked at, the last one's id or '', and of each its id with names and values.
local ORDER, FIRST, LAST, COUNT, VALUE_MAX, NAME, WANTED = unpack(ARGV)
local held = redis.call('TYPE', EVENTS)
if (held.ok or held) ~= 'stream' then return { 0, '', {} } end
local wanted = { replica = true }
for _, name in ipairs(EVENT_FIELDS) do wanted[name] = true end
local entries, rows, max = redis.call(ORDER, EVENTS, FIRST, LAST, 'COUNT', COUNT), {}, tonumber(VALUE_MAX)
for _, entry in ipairs(entries) do
  local fields, flat, found = entry[2], {}, ''
  for position = 1, #fields, 2 do
    local name, value = fields[position], string.sub(fields[position + 1], 1, max)
    -- Of repeated names the first counts. No event of ours has any.
    if wanted[name] and #flat < 2 * (#EVENT_FIELDS + 1) then
      flat[#flat + 1] = name
      flat[#flat + 1] = value
      if name == NAME then found = value end
    end
  end
  if NAME == '' or found == WANTED then rows[#rows + 1] = { entry[1], flat } end
end
local last = entries[#entries]
return { #entries, last and last[1] or '', rows }
