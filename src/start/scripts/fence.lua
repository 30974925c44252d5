-- Does the attempt still hold the game? holder. Answers 1 or 0.
function verbs.fence(key, call)
  return is_held_by(key, call[2]) and YES or NO
end
