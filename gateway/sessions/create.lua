-- Make a session, if its user may have one more. Sessions that have expired are taken out of the index and not counted.
-- One that is made for a message, and so leased, lives no longer than its lease until it has one.
-- KEYS: session hash, the user's index, lease. ARGV: what a session's key begins with (it has the same hash tag),
-- the most sessions, id, time in milliseconds, time to live in seconds, lease token (may be empty), lease in
-- milliseconds, then fields and values. Returns 0, or how many sessions there are if that is too many.
local most = tonumber(ARGV[2])
if redis.call('ZCARD', KEYS[2]) >= most then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    if redis.call('EXISTS', ARGV[1] .. id) == 0 then redis.call('ZREM', KEYS[2], id) end
  end
  local count = redis.call('ZCARD', KEYS[2])
  if count >= most then return count end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 8))
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
if redis.call('TTL', KEYS[2]) < tonumber(ARGV[5]) then redis.call('EXPIRE', KEYS[2], ARGV[5]) end
if ARGV[6] ~= '' then
  redis.call('SET', KEYS[3], ARGV[6], 'PX', ARGV[7])
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
end
return 0
