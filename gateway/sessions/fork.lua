-- Copy the first messages of a session, or all, into a new one that has just been made.
-- KEYS: session hash, message list, new hash, new list. ARGV: user, how many messages, the last of them as it is kept,
-- then fields and values of the new hash. Returns 1, or 0 if the session is gone or has other messages by now.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
local count = tonumber(ARGV[2])
if count > 0 then
  if redis.call('LINDEX', KEYS[2], count - 1) ~= ARGV[3] then return 0 end
  redis.call('COPY', KEYS[2], KEYS[4])
  redis.call('LTRIM', KEYS[4], 0, count - 1)
end
redis.call('HSET', KEYS[3], unpack(ARGV, 4))
redis.call('EXPIRE', KEYS[4], redis.call('HGET', KEYS[3], 'ttl_seconds'))
return 1
