-- Return a session with its messages. KEYS: session hash, message list. ARGV: user.
-- Returns false for another user's, as for none; else {fields, messages}.
if redis.call('HGET', KEYS[1], 'user') ~= ARGV[1] then return false end
return {redis.call('HGETALL', KEYS[1]), redis.call('LRANGE', KEYS[2], 0, -1)}
