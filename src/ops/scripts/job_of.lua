-- Game and image out of the fields of an entry, each cut, and how many bytes the entry has. Of repeated names the last counts.
local function job_of(fields, max)
  local game, image, bytes = '', '', 0
  for position = 1, #fields, 2 do
    local name, value = fields[position], fields[position + 1]
    bytes = bytes + #name + #value
    if name == 'game_id' then game = value elseif name == 'image_ref' then image = value end
  end
  return string.sub(game, 1, max), string.sub(image, 1, max), bytes
end

-- How many entries one command answers: one at first, twice as many while none was large. Redis copies all that it answers.
local LARGE_ENTRY, CHUNK_MAX = 4096, 64
local function next_chunk(chunk, largest, left)
  return math.min(largest < LARGE_ENTRY and chunk * 2 or 1, CHUNK_MAX, left)
end

