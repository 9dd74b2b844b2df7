-- Delete a key and all that is kept of it.
-- KEYS: index, earlier digests, uses, records of the present and the earlier key. ARGV: id, digest of the present key.
-- Returns 0 where the present key is another by now.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[4], KEYS[5])
for position = 1, 3 do redis.call('HDEL', KEYS[position], ARGV[1]) end
return 1
