-- IMAGE is to be pulled by OWNER under ID, for LEASE_MS without renewal. Only a look, unless TAKES is 1. AWAITED: the pull whose
-- end OWNER waits for, or ''. DEAD_OWNER: a replica that is known to be dead, or ''.
-- Answers limited <ms left> <words>; busy <id> <bytes>; ended <state> <code> <message> of AWAITED; free; or go.
local IMAGE, REPOSITORY, OWNER, DEAD_OWNER, AWAITED, TAKES, ID, LEASE_MS = unpack(ARGV)
local left, words = limit_of(REPOSITORY)
if left > 0 then return { 'limited', whole(left), words } end
local line = get(IMAGE)
if line then
  if is_alive(line) and (line.owner ~= DEAD_OWNER or DEAD_OWNER == '') then
    return { 'busy', tostring(line.id or ''), whole(tonumber(line.bytes) or 0) }
  end
  if AWAITED ~= '' and line.id == AWAITED and (line.state == 'done' or line.state == 'failed') then
    return { 'ended', line.state, tostring(line.code or ''), tostring(line.message or '') }
  end
end
if TAKES ~= '1' then return { 'free' } end
-- Where there is no room the pull is not shared.
if has_room(IMAGE) then
  -- The operator of a wish that was carried out just now may not have seen it yet.
  local is_open = line and (line.state == 'wanted' or line.state == 'pulling' or age(line.renewed) < 10000)
  put(IMAGE, {
    state = 'pulling', id = ID, owner = OWNER, since = now, renewed = now, lease = tonumber(LEASE_MS), bytes = 0, total = 0,
    layers = 0, layers_done = 0, wish = is_open and line.wish or nil, by = is_open and line.by or nil,
  })
end
return { 'go' }
