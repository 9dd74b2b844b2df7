-- Take ARGV[1] from every bucket of KEYS[1], or from none. Then for each bucket: name, capacity, window in seconds.
-- Returns {wait in milliseconds (0: taken), balance × 1000 of each bucket}. Server time: one clock for all gateways.
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local need = tonumber(ARGV[1])
local wait, longest, balances, writes = 0, 0, {}, {}
for i = 2, #ARGV, 3 do
  local name, capacity, window = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local stored = redis.call('HMGET', KEYS[1], name, name .. ':at')
  local balance, at = tonumber(stored[1] or capacity), tonumber(stored[2] or now_us)
  local elapsed = math.max(0, now_us - at)
  balance = math.min(capacity, balance + elapsed * capacity / (window * 1000000))
  if balance < need then
    wait = math.max(wait, math.ceil((need - balance) * window * 1000 / capacity))
  end
  longest = math.max(longest, window)
  balances[#balances + 1] = balance
  writes[#writes + 1] = {name, math.max(now_us, at)}
end
local reply = {wait}
for i, balance in ipairs(balances) do
  if wait == 0 then
    balance = balance - need
    redis.call('HSET', KEYS[1], writes[i][1], string.format('%.6f', balance),
               writes[i][1] .. ':at', string.format('%.0f', writes[i][2]))
  end
  reply[#reply + 1] = math.floor(balance * 1000)
end
if wait == 0 then redis.call('EXPIRE', KEYS[1], longest * 2) end
return reply
