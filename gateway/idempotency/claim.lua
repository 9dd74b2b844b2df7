-- Claim a key for a request that is to be answered once, or say what became of the one that had it first.
-- KEYS: the key's hash. ARGV: what the request is (a digest), token, milliseconds the claim lasts unless renewed.
-- Returns {'claimed'}, {'other'} for another request's key, {'running'}, or {'done', headers, body}.
local known = redis.call('HMGET', KEYS[1], 'request', 'headers', 'body')
if not known[1] then
  redis.call('HSET', KEYS[1], 'request', ARGV[1], 'token', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'claimed'}
end
if known[1] ~= ARGV[1] then return {'other'} end
if known[3] then return {'done', known[2], known[3]} end
return {'running'}
