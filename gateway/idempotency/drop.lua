-- Give a claim back whose request has no answer to keep, so that it may be tried again. KEYS: the key's hash. ARGV: token.
if redis.call('HGET', KEYS[1], 'token') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'body') == 0 then
  return redis.call('DEL', KEYS[1])
end
return 0
