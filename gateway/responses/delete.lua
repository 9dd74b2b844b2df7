-- Delete a response. KEYS: response hash, the user's index, the user's sizes. ARGV: id, user.
-- Returns 1, or 0 for another user's, as for none.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'sum', 0 - (redis.call('HGET', KEYS[3], ARGV[1]) or 0))
redis.call('HDEL', KEYS[3], ARGV[1])
return 1
