-- Is this token still the game's fence? fence. Answers 1 or 0.
function verbs.fence(rec, call)
  return is_fence(rec, call[2]) and YES or NO
end
