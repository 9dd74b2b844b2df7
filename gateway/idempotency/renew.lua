-- Keep a claim for another while, if it is still this request's. KEYS: the key's hash. ARGV: token, milliseconds.
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'body') == 0 then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
