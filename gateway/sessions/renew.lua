-- Keep the lease for another while if it is still this request's, and the session with it, which is in use.
-- The user's index lives no shorter.
-- KEYS: session hash, message list, lease, the user's index. ARGV: lease token, milliseconds, the session's time to live
-- in seconds.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
if redis.call('TTL', KEYS[4]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[4], ARGV[3]) end
return redis.call('PEXPIRE', KEYS[3], ARGV[2])
