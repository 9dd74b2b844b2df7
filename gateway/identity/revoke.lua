-- Add a revocation, drop what may be forgotten, and tell that something has changed.
-- KEYS: revocations, version. ARGV: member, Unix time until which it counts, Unix time now, new version.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('SET', KEYS[2], ARGV[4])
