-- The images that an operator wants and on which no replica works. Removes what says nothing any more.
local images = {}
if redis.call('EXISTS', PULLS) == 1 then
  for _, found in ipairs(lines()) do
    local name, line = found[1], found[2]
    if string.sub(name, 1, 1) ~= '~' and (line.state == 'wanted' or line.state == 'pulling' and line.wish and not is_alive(line)) then
      images[#images + 1] = name
    end
  end
end
return images
