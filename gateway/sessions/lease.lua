-- Take the session's lease, which is a use of it, and return what the engine is to see of it.
-- A session that is in no index any more, as one may be that ended before the session did, is put into it again.
-- KEYS: session hash, message list, lease, the user's index. ARGV: user, lease token, lease in milliseconds, 1 for all
-- messages and not only those from the cut on, id.
-- Returns {'missing'} (also for another user's), {'busy', ms left}, or {'leased', hash fields, messages before the cut
-- that stay, messages from the cut on}.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return {'missing'} end
if not redis.call('SET', KEYS[3], ARGV[2], 'NX', 'PX', ARGV[3]) then
  return {'busy', redis.call('PTTL', KEYS[3])}
end
local now = redis.call('HMGET', KEYS[1], 'ttl_seconds', 'cut', 'pinned', 'created_at')
redis.call('EXPIRE', KEYS[1], now[1])
redis.call('EXPIRE', KEYS[2], now[1])
redis.call('ZADD', KEYS[4], 'NX', now[4] * 1000, ARGV[5])
if redis.call('TTL', KEYS[4]) < tonumber(now[1]) then redis.call('EXPIRE', KEYS[4], now[1]) end
local pinned = {}
local from = now[2] or 0
if ARGV[4] == '1' then
  from = 0
elseif now[3] then
  for index in string.gmatch(now[3], '%d+') do
    pinned[#pinned + 1] = redis.call('LINDEX', KEYS[2], index)
  end
end
return {'leased', redis.call('HGETALL', KEYS[1]), pinned, redis.call('LRANGE', KEYS[2], from, -1)}
