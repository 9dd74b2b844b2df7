-- Return a response and those before it, as far as they go. All of them are in use from now on.
-- KEYS: response hash, the user's index, the user's sizes. ARGV: what a response's key begins with (it has the same
-- hash tag), id, user, time in milliseconds, time to live in seconds.
-- Returns {0, id} for the first that is not there or another user's; else {1, bytes and number of all, then input and
-- output of each, the newest first}.
local found = {}
local ids = {}
local bytes, turns
local id = ARGV[2]
while id ~= '' do
  local kept = redis.call('HMGET', ARGV[1] .. id, 'user', 'previous', 'input', 'output', 'all_bytes', 'turns')
  if kept[1] ~= ARGV[3] then return {0, id} end
  bytes, turns = bytes or kept[5], turns or kept[6]
  found[#found + 1] = kept[3]
  found[#found + 1] = kept[4]
  ids[#ids + 1] = id
  id = kept[2]
end
for _, each in ipairs(ids) do
  redis.call('EXPIRE', ARGV[1] .. each, ARGV[5])
  redis.call('ZADD', KEYS[2], 'XX', ARGV[4], each)
end
redis.call('EXPIRE', KEYS[2], ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[5])
return {1, bytes, turns, found}
