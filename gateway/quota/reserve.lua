-- Take one request and its tokens from every bucket, and a place among the concurrent ones, or nothing at all.
-- KEYS: the tenant's leases and reservations, the hashes of buckets, the sets of concurrent requests.
-- ARGV: lease in µs, moment in µs (0: the server's clock, the one for all gateways), the ledger's field, number of sets
--   and the limit of each, number of hashes and for each: number of its buckets and for each of them name, 1 if it
--   counts tokens, capacity, window in seconds. At the end what differs between requests: id, tokens of prompt, answer.
-- Returns {wait in ms (0: taken), what is waited for (the bucket's index, or minus the set's), balances × 1000}.
local lease, now, field = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local id, prompt, output = ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV]
local tokens = prompt + output
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local sets = tonumber(ARGV[4])
local hashes, at = tonumber(ARGV[5 + sets]), 6 + sets
local first_set = 2 + hashes
local reply, writes = {0, 0}, {}
for i = 1, sets do
  redis.call('ZREMRANGEBYSCORE', KEYS[first_set + i], '-inf', string.format('%.0f', now))
  if redis.call('ZCARD', KEYS[first_set + i]) >= tonumber(ARGV[4 + i]) then
    reply[1], reply[2] = 1000, -i
    -- A clock that was set back leaves leases that end too late.
    local latest = string.format('%.0f', now + lease)
    for _, held in ipairs(redis.call('ZRANGEBYSCORE', KEYS[first_set + i], '(' .. latest, '+inf')) do
      redis.call('ZADD', KEYS[first_set + i], latest, held)
    end
  end
end
for h = 1, hashes do
  local count, names = tonumber(ARGV[at]), {}
  for b = 1, count do
    local name = ARGV[at + 4 * b - 3]
    names[2 * b - 1], names[2 * b] = name, name .. ':at'
  end
  local stored = redis.call('HMGET', KEYS[2 + h], unpack(names))
  local full_in, write = 0, {}
  for b = 1, count do
    local rule = at + 4 * b - 3
    local capacity, window = tonumber(ARGV[rule + 2]), tonumber(ARGV[rule + 3]) * 1000000
    local balance = tonumber(stored[2 * b - 1] or capacity)
    local elapsed = math.max(0, now - tonumber(stored[2 * b] or now))
    balance = math.min(capacity, balance + elapsed * capacity / window)
    local need = 1
    if ARGV[rule + 1] == '1' then need = math.min(tokens, capacity) end
    if balance < need then
      local wait = math.ceil((need - balance) * window / capacity / 1000)
      if wait > reply[1] then reply[1], reply[2] = wait, #reply - 1 end
    end
    reply[#reply + 1] = balance * 1000
    write[4 * b - 3], write[4 * b - 2] = names[2 * b - 1], string.format('%.6f', balance - need)
    write[4 * b - 1], write[4 * b] = names[2 * b], string.format('%.0f', now)
    full_in = math.max(full_in, (capacity - balance + need) * window / capacity / 1000000)
  end
  write.full_in = math.ceil(full_in) + 60
  writes[h] = write
  at = at + 4 * count + 1
end
if reply[1] > 0 then return reply end
local balance = 2
for h = 1, hashes do
  redis.call('HSET', KEYS[2 + h], unpack(writes[h]))
  redis.call('EXPIRE', KEYS[2 + h], writes[h].full_in)
  for b = 2, #writes[h], 4 do
    balance = balance + 1
    reply[balance] = tonumber(writes[h][b]) * 1000
  end
end
local ends = string.format('%.0f', now + lease)
for i = 1, sets do
  redis.call('ZADD', KEYS[first_set + i], ends, id)
  if redis.call('PTTL', KEYS[first_set + i]) < lease / 1000 then
    redis.call('PEXPIRE', KEYS[first_set + i], string.format('%.0f', lease / 500))
  end
end
redis.call('HSET', KEYS[2], id, prompt .. ' ' .. output .. ' ' .. field)
redis.call('ZADD', KEYS[1], ends, id)
return reply
