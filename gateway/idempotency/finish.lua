-- Keep an answer under the key that was claimed for it, if the claim is still this request's.
-- KEYS: the key's hash. ARGV: token, seconds, headers, body. Returns 1, or 0 if the claim was lost.
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'headers', ARGV[3], 'body', ARGV[4])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
