-- Keep a response. What its user has not used for longest makes room for it; the newest is never what goes.
-- KEYS: response hash, the user's index, the user's sizes. ARGV: what a response's key begins with (it has the same
-- hash tag), id, time in milliseconds, time to live in seconds, the most bytes of all, bytes of this one, then fields
-- and values. Returns how many had to go before their time.
local ttl, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local function forget(id)
  redis.call('DEL', ARGV[1] .. id)
  local sum = redis.call('HINCRBY', KEYS[3], 'sum', 0 - (redis.call('HGET', KEYS[3], id) or 0))
  redis.call('HDEL', KEYS[3], id)
  redis.call('ZREM', KEYS[2], id)
  return sum
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. (tonumber(ARGV[3]) - ttl * 1000))) do
  forget(id)
end
-- Before anything is written: a Redis that is full takes nothing of a script that has not freed something first.
local sum = (tonumber(redis.call('HGET', KEYS[3], 'sum')) or 0) + tonumber(ARGV[6])
local gone = 0
while sum > most do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not oldest then break end
  sum = forget(oldest) + tonumber(ARGV[6])
  gone = gone + 1
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('HSET', KEYS[3], ARGV[2], ARGV[6])
redis.call('HINCRBY', KEYS[3], 'sum', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[2], ttl)
redis.call('EXPIRE', KEYS[3], ttl)
return gone
