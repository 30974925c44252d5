-- The fields of a job out of one entry, however large the rest of it is: of repeated names the last value, cut at one byte
-- more than is allowed.
--
-- LIMIT: bytes of a value. JOB_FIELDS, the names, are in the header. Answers names and values, in the order of the names;
-- nothing where the entry is gone.
local ID, LIMIT = unpack(ARGV)
local entry = redis.call('XRANGE', JOBS, ID, ID)[1]
if not entry then return false end
local limit, wanted, values = tonumber(LIMIT), {}, {}
for _, name in ipairs(JOB_FIELDS) do wanted[name] = true end
local pairs_of_entry = entry[2]
for position = 1, #pairs_of_entry, 2 do
  local name = pairs_of_entry[position]
  if wanted[name] then values[name] = string.sub(pairs_of_entry[position + 1], 1, limit + 1) end
end
local flat = {}
for _, name in ipairs(JOB_FIELDS) do
  local value = values[name]
  if value then
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
end
return flat
