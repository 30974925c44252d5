-- An operator, BY, wants IMAGE to be pulled; the pull carries WISH from then on, one that is under way too. Answers 1, or 0 where
-- there is no room.
local IMAGE, WISH, BY = unpack(ARGV)
if not has_room(IMAGE) then return 0 end
local line = get(IMAGE)
if line and is_alive(line) then
  line.wish, line.by = WISH, BY
else
  line = { state = 'wanted', since = now, wish = WISH, by = BY }
end
put(IMAGE, line)
return 1
