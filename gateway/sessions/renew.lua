-- Keep the lease for another while if it is still this request's. KEYS: lease. ARGV: lease token, milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
