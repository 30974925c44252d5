-- The record's text, or nothing.
function verbs.show(key)
  local text = get(key)
  return text and { text } or {}
end
