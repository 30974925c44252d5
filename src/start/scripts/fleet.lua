-- The name of the fleet. The key of the call is its own. wanted: what it is to be where there is none; '' only asks.
-- Answers what it is, or nothing.
function verbs.fleet(key, wanted)
  local text = get(key)
  if not text and wanted ~= '' then
    put(key, wanted)
    text = wanted
  end
  return text and { text } or {}
end
