-- The fields of a start job out of one entry, however large the rest of it is: of repeated names the last value, cut at one byte
-- more than is allowed. KEYS: the jobs stream. ARGV: id, bytes of a value at most, names.
-- Answers names and values, in the order of the names; nothing where the entry is gone.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then return false end
local limit, wanted, values = tonumber(ARGV[2]), {}, {}
for position = 3, #ARGV do wanted[ARGV[position]] = true end
local pairs_of_entry = entry[2]
for position = 1, #pairs_of_entry, 2 do
  local name = pairs_of_entry[position]
  if wanted[name] then values[name] = string.sub(pairs_of_entry[position + 1], 1, limit + 1) end
end
local flat = {}
for position = 3, #ARGV do
  local value = values[ARGV[position]]
  if value then
    flat[#flat + 1] = ARGV[position]
    flat[#flat + 1] = value
  end
end
return flat
