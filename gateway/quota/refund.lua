-- Give ARGV[1] back to every bucket named after it in KEYS[1]. A bucket that has gone is full already.
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[1])
  end
end
return 1
