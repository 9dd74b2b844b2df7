-- Return a key's record and Redis's time, by which it was found. KEYS: record.
return {redis.call('GET', KEYS[1]), redis.call('TIME')}
