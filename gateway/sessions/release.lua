-- Give the lease back if it is still this request's. KEYS: lease. ARGV: lease token. https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
