-- Set fields of a session, which is a use of it. KEYS: session hash, message list, the user's index.
-- ARGV: user, then fields and values. Returns the hash, or false for another user's, as for none.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return false end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
local ttl = redis.call('HGET', KEYS[1], 'ttl_seconds')
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('EXPIRE', KEYS[2], ttl)
if redis.call('TTL', KEYS[3]) < tonumber(ttl) then redis.call('EXPIRE', KEYS[3], ttl) end
return redis.call('HGETALL', KEYS[1])
