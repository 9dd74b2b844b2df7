-- Delete a session with everything of it. KEYS: session hash, message list, lease, the user's index.
-- ARGV: user, id. Returns 1, or 0 for another user's, as for none.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
redis.call('ZREM', KEYS[4], ARGV[2])
return 1
