-- Hold reservations for another lease. A place that was lost while Redis was away is taken again: its request runs.
-- KEYS: the tenant's leases, then sets of concurrent requests.
-- ARGV: lease in µs, moment in µs (0: the server's clock), then for each key: number of ids, the ids.
local now = tonumber(ARGV[2])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local lease, at = tonumber(ARGV[1]), 3
local ends = string.format('%.0f', now + lease)
for k, key in ipairs(KEYS) do
  for i = at + 1, at + tonumber(ARGV[at]) do
    if k == 1 then redis.call('ZADD', key, 'XX', ends, ARGV[i]) else redis.call('ZADD', key, ends, ARGV[i]) end
  end
  if k > 1 and redis.call('PTTL', key) < lease / 1000 then
    redis.call('PEXPIRE', key, string.format('%.0f', lease / 500))
  end
  at = at + tonumber(ARGV[at]) + 1
end
return 1
