-- Append messages and give the lease back, only while the lease is still this request's: a late writer changes nothing.
-- KEYS: session hash, message list, lease, the user's index. ARGV: lease token, now, how many of the messages there stay (-1: all), their
-- bytes, the cut, the messages before it that are sent all the same, tokens of the context and of what is before the
-- cut, the version of the system prompt that was counted, then the new messages.
-- Returns 1, or 0 if the lease or the session is gone.
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
local known = redis.call('HMGET', KEYS[1], 'ttl_seconds', 'bytes', 'system_version')
if not known[1] then return 0 end
local keep, bytes = tonumber(ARGV[3]), tonumber(known[2])
if keep >= 0 then
  bytes = tonumber(ARGV[4])
  if keep == 0 then redis.call('DEL', KEYS[2]) else redis.call('LTRIM', KEYS[2], 0, keep - 1) end
end
for i = 10, #ARGV do bytes = bytes + #ARGV[i] end
for i = 10, #ARGV, 1000 do redis.call('RPUSH', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV))) end
local count = redis.call('LLEN', KEYS[2])
-- What was counted had another system prompt than the session has by now: of the next context nothing is known.
local context = ARGV[7]
if (known[3] or '') ~= ARGV[9] then context = 0 end
redis.call('HSET', KEYS[1], 'message_count', count, 'bytes', bytes, 'updated_at', ARGV[2], 'cut', ARGV[5],
  'pinned', ARGV[6], 'context_tokens', context, 'cut_tokens', ARGV[8])
redis.call('EXPIRE', KEYS[1], known[1])
redis.call('EXPIRE', KEYS[2], known[1])
if redis.call('TTL', KEYS[4]) < tonumber(known[1]) then redis.call('EXPIRE', KEYS[4], known[1]) end
redis.call('DEL', KEYS[3])
return 1
