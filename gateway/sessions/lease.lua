-- Take the session's lease, which is a use of it, and return what the caller may see.
-- KEYS: session hash, message list, lease. ARGV: user, lease token, lease in milliseconds.
-- Returns {'missing'} (also for another user's), {'busy', ms left}, or {'leased', hash fields, messages}.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return {'missing'} end
if not redis.call('SET', KEYS[3], ARGV[2], 'NX', 'PX', ARGV[3]) then
  return {'busy', redis.call('PTTL', KEYS[3])}
end
local ttl = redis.call('HGET', KEYS[1], 'ttl_seconds')
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('EXPIRE', KEYS[2], ttl)
return {'leased', redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1)}
