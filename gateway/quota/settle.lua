-- Close a reservation: free its place, give back or take what was reserved and not used, write the ledger. Once.
-- KEYS: the tenant's leases, reservations and reaped ones, the ledger of the day, hashes of buckets, sets of requests.
-- ARGV: moment in µs (0: the server's clock), the ledger's field ('': nothing is booked there), the ledger's seconds to
--   live, unmetered requests, number of hashes and for each: as for reserve. At the end what differs between requests:
--   id, 1 to book it though Redis never knew of it, tokens reserved, tokens of prompt, answer and cache.
-- Returns 1, or 0 where it has been closed before.
local field, last = ARGV[2], #ARGV
local id, alone, reserved = ARGV[last - 5], ARGV[last - 4] == '1', tonumber(ARGV[last - 3])
local amounts = {prompt = ARGV[last - 2], completion = ARGV[last - 1], cached = ARGV[last], unmetered = ARGV[4]}
local used, hashes = amounts.prompt + amounts.completion, tonumber(ARGV[5])
-- Its places are free whatever is known of it: after an outage they may have been taken again (renew.lua).
for i = 5 + hashes, #KEYS do redis.call('ZREM', KEYS[i], id) end
local known = redis.call('HDEL', KEYS[2], id) == 1
if known then
  redis.call('ZREM', KEYS[1], id)
else
  local reaped = redis.call('HGET', KEYS[3], id)
  if reaped then
    -- It was booked as unsettled, on an estimate and perhaps on another day: that is taken back. It is subtracted from
    -- zero, because the negative of 0 is "-0" in Lua, which Redis takes for no integer.
    if reaped == '' then return 0 end
    local day, prompt, completion, name = string.match(reaped, '^(%S+) (%d+) (%d+) (.*)$')
    local prefix = string.sub(KEYS[4], 1, -11)
    redis.call('HINCRBY', prefix .. day, name .. ':requests', -1)
    redis.call('HINCRBY', prefix .. day, name .. ':prompt', 0 - prompt)
    redis.call('HINCRBY', prefix .. day, name .. ':completion', 0 - completion)
    redis.call('HINCRBY', prefix .. day, name .. ':unsettled', -1)
  elseif not alone then
    return 0
  else
    hashes = 0
  end
end
if not known or alone then
  redis.call('HSET', KEYS[3], id, '')
  redis.call('EXPIRE', KEYS[3], 86400)
end
if hashes > 0 then
  local now, at = tonumber(ARGV[1]), 6
  if now == 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
  end
  for h = 1, hashes do
    local key, count = KEYS[4 + h], tonumber(ARGV[at])
    for b = 1, count do
      local rule = at + 4 * b - 3
      local name, capacity, window = ARGV[rule], tonumber(ARGV[rule + 2]), tonumber(ARGV[rule + 3]) * 1000000
      local back = 1
      if ARGV[rule + 1] == '1' then back = math.min(reserved, capacity) - used end
      local stored = redis.call('HMGET', key, name, name .. ':at')
      -- A bucket that is not there is full: there is nothing to give back to it, but it can be taken from.
      if back < 0 or (back > 0 and stored[1]) then
        local elapsed = math.max(0, now - tonumber(stored[2] or now))
        local balance = math.min(capacity, tonumber(stored[1] or capacity) + elapsed * capacity / window)
        balance = math.min(capacity, balance + back)
        redis.call('HSET', key, name, string.format('%.6f', balance), name .. ':at', string.format('%.0f', now))
        local full_in = math.ceil((capacity - balance) * window / capacity / 1000000) + 60
        if back < 0 and redis.call('TTL', key) < full_in then redis.call('EXPIRE', key, full_in) end
      end
    end
    at = at + 4 * count + 1
  end
end
if field ~= '' then
  if redis.call('HINCRBY', KEYS[4], field .. ':requests', 1) == 1 then
    redis.call('EXPIRE', KEYS[4], ARGV[3])
  end
  for name, amount in pairs(amounts) do
    if amount ~= '0' then redis.call('HINCRBY', KEYS[4], field .. ':' .. name, amount) end
  end
end
return 1
