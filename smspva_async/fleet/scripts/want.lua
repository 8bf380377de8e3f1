-- Replace a member's demand, and tell the others. ARGV: member, lease in seconds, demand as JSON or 'null'.
local key, me = KEYS[1], ARGV[1]
if ARGV[3] == 'null' then
    if redis.call('HDEL', key .. 'demand', me) == 0 then return 0 end
else
    local now = redis.call('TIME')
    redis.call('ZADD', key .. 'members', now[1] + now[2] / 1e6 + ARGV[2], me)
    redis.call('HSET', key .. 'demand', me, ARGV[3])
end
local number = redis.call('HINCRBY', key .. 'meta', 'news', 1)
redis.call('XADD', key .. 'news', 'MAXLEN', '~', 10000, number .. '-0', 'kind', 'demand', 'member', me, 'data', ARGV[3])
return 1
