-- Write down when keys were used last. KEYS: index, uses. ARGV: id, Unix time, …
for position = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[position]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[position], ARGV[position + 1])
  end
end
