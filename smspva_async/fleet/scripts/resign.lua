-- Give up the lease and the demand, and tell the others. ARGV: member, the invalid key's message as JSON.
local key, me = KEYS[1], ARGV[1]
if redis.call('GET', key .. 'lease') ~= me then return 0 end
redis.call('DEL', key .. 'lease')
redis.call('HDEL', key .. 'meta', 'leader')
local function post(kind, data)
    local number = redis.call('HINCRBY', key .. 'meta', 'news', 1)
    redis.call('XADD', key .. 'news', 'MAXLEN', '~', 10000, number .. '-0', 'kind', kind, 'member', me, 'data', data)
end
if redis.call('HDEL', key .. 'demand', me) == 1 then post('demand', 'null') end
post('left', ARGV[2])
return 1
