-- Keep the lease for another while if it is still this request's, and the session with it, which is in use.
-- KEYS: session hash, message list, lease. ARGV: lease token, milliseconds, the session's time to live in seconds.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return redis.call('PEXPIRE', KEYS[3], ARGV[2])
