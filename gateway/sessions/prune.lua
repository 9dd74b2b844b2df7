-- Drop the sessions that have expired from a user's index and return how many are left, in one step whatever their
-- number. KEYS: the index. ARGV: what the key of a session begins with; it has the same hash tag.
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then redis.call('ZREM', KEYS[1], id) end
end
return redis.call('ZCARD', KEYS[1])
