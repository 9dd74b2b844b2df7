-- Say that this gateway is there, and count those that have said so of late.
-- KEYS: the gateways. ARGV: this one, seconds until one is taken for gone.
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])
return redis.call('ZCARD', KEYS[1])
