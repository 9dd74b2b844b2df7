-- Return a user's sessions, the newest first, and forget those that have expired.
-- KEYS: the user's index. ARGV: what a session's key begins with (it has the same hash tag), how many, the id to go on
-- after (may be empty). Returns {'unknown'} for such an id, or {'page', 1 if there are more, id, fields, id, fields, …}.
local limit = tonumber(ARGV[2])
local start = 0
if ARGV[3] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[3])
  if not rank then return {'unknown'} end
  start = rank + 1
end
local page, expired, found = {'page', 0}, {}, 0
while true do
  local ids = redis.call('ZREVRANGE', KEYS[1], start, start + limit)
  for _, id in ipairs(ids) do
    local fields = redis.call('HGETALL', ARGV[1] .. id)
    if #fields == 0 then
      expired[#expired + 1] = id
    elseif found == limit then
      page[2] = 1
      break
    else
      found = found + 1
      page[#page + 1] = id
      page[#page + 1] = fields
    end
  end
  if page[2] == 1 or #ids <= limit then break end
  start = start + limit + 1
end
for _, id in ipairs(expired) do redis.call('ZREM', KEYS[1], id) end
return page
