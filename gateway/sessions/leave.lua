-- Give back the lease of a session that was made for a message and got none: it is deleted, or stays if its id was told.
-- KEYS: session hash, message list, lease, the user's index. ARGV: lease token, id, 1 if it stays.
-- Returns 1, or 0 if the lease is not this request's any more.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
if ARGV[3] == '1' then
  local ttl = redis.call('HGET', KEYS[1], 'ttl_seconds') or 0
  redis.call('EXPIRE', KEYS[1], ttl)
  if redis.call('TTL', KEYS[4]) < tonumber(ttl) then redis.call('EXPIRE', KEYS[4], ttl) end
else
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('ZREM', KEYS[4], ARGV[2])
end
return 1
