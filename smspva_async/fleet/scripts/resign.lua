-- Give up the lease and the demand, and tell the others. ARGV: member, the invalid key's message as JSON.
local key, me = KEYS[1], ARGV[1]
if redis.call('GET', key .. 'lease') ~= me then return 0 end
redis.call('DEL', key .. 'lease')
redis.call('HDEL', key .. 'meta', 'leader')
if redis.call('HDEL', key .. 'demand', me) == 1 then post('demand', me, 'null') end
post('left', me, ARGV[2])
return 1
