-- Put a key in place of the present one, or of none. The present one holds for its grace, the one before that no more.
-- KEYS: index, earlier digests, records of the new, the present and the earlier key.
-- ARGV: id, record, digest, digest of the present key or '', grace in milliseconds.
-- Returns 0 where the present key is another by now.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[4] then return 0 end
redis.call('DEL', KEYS[5])
redis.call('HDEL', KEYS[2], ARGV[1])
if ARGV[4] ~= '' then
  if tonumber(ARGV[5]) > 0 then
    redis.call('PEXPIRE', KEYS[4], ARGV[5])
    redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
  else
    redis.call('DEL', KEYS[4])
  end
end
redis.call('SET', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
