-- Replace a member's demand, and tell the others. ARGV: member, lease in seconds, demand as JSON or 'null'.
local key, me = KEYS[1], ARGV[1]
if ARGV[3] == 'null' then
    if redis.call('HDEL', key .. 'demand', me) == 0 then return 0 end
else
    beat(me, ARGV[2])
    redis.call('HSET', key .. 'demand', me, ARGV[3])
end
post('demand', me, ARGV[3])
return 1
