-- Append messages and give the lease back, only while the lease is still this request's: a late writer changes nothing.
-- KEYS: session hash, message list, lease, the user's index. ARGV: lease token, now, session id, then the messages.
-- Returns 1, or 0 if the lease or the session is gone.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local ttl = tonumber(redis.call('HGET', KEYS[1], 'ttl_seconds'))
if not ttl then return 0 end
local bytes = 0
for i = 4, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[i])
  bytes = bytes + #ARGV[i]
end
redis.call('HINCRBY', KEYS[1], 'message_count', #ARGV - 3)
redis.call('HINCRBY', KEYS[1], 'bytes', bytes)
redis.call('HSET', KEYS[1], 'updated_at', ARGV[2])
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('EXPIRE', KEYS[2], ttl)
redis.call('ZADD', KEYS[4], 'XX', ARGV[2], ARGV[3])
redis.call('DEL', KEYS[3])
return 1
