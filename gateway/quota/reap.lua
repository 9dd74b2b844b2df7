-- Book what a gateway left open as unsettled: what was reserved stays taken, and the ledger says what it stands for.
-- KEYS: the tenant's leases, reservations and reaped ones, the ledger of the day.
-- ARGV: patience beyond a lease's end and the longest lease, in µs, moment in µs (0: the server's clock), the ledger's seconds to
--   live, how many at most. Returns how many were booked.
local patience, lease, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local day = string.sub(KEYS[4], -10)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - patience), 'LIMIT', 0, ARGV[5])
for _, id in ipairs(ids) do
  local record = redis.call('HGET', KEYS[2], id)
  if record then
    local prompt, completion, field = string.match(record, '^(%d+) (%d+) (.*)$')
    if field ~= '' then
      redis.call('HINCRBY', KEYS[4], field .. ':requests', 1)
      redis.call('HINCRBY', KEYS[4], field .. ':prompt', prompt)
      redis.call('HINCRBY', KEYS[4], field .. ':completion', completion)
      redis.call('HINCRBY', KEYS[4], field .. ':unsettled', 1)
      -- Kept for a day: its gateway may only have been cut off, and settle it yet.
      redis.call('HSET', KEYS[3], id, day .. ' ' .. record)
    end
    redis.call('HDEL', KEYS[2], id)
  end
  redis.call('ZREM', KEYS[1], id)
end
if #ids > 0 then
  redis.call('EXPIRE', KEYS[3], 86400)
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
-- A clock that was set back leaves leases that end too late to be of use.
local latest = string.format('%.0f', now + lease)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf', 'LIMIT', 0, ARGV[5])) do
  redis.call('ZADD', KEYS[1], latest, id)
end
return #ids
