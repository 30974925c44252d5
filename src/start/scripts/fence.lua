-- Does the attempt still hold the game? Answers 1 or 0.
function verbs.fence(key, holder)
  return is_held_by(key, holder) and YES or NO
end
