-- Take or renew the lease, and drop the demand of silent members.
-- ARGV: member, lease in seconds, 1 if a free lease may be taken, the member's last epoch as the leader (0: none), the
-- highest epoch that it knows, the leader's status, the run id of the Redis that the member knows, the
-- version of its replica.
-- Returns 1 if it leads, milliseconds until the lease ends, version, mark, number of the last news, epoch, status, run
-- id.
local key, me = KEYS[1], ARGV[1]
local meta, members = key .. 'meta', key .. 'members'
beat(me, ARGV[2])
redis.call('ZREMRANGEBYSCORE', members, '-inf', clock())
redis.call('HSET', key .. 'versions', me, ARGV[8])
for _, member in ipairs(redis.call('HKEYS', key .. 'versions')) do
    if not redis.call('ZSCORE', members, member) then redis.call('HDEL', key .. 'versions', member) end
end
for _, member in ipairs(redis.call('HKEYS', key .. 'demand')) do
    if not redis.call('ZSCORE', members, member) then
        redis.call('HDEL', key .. 'demand', member)
        post('demand', member, 'null')
    end
end

local holder = redis.call('GET', key .. 'lease')
local known = redis.call('HMGET', meta, 'leader', 'epoch')
local current, mine = tonumber(known[2] or 0), tonumber(ARGV[4])
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local may_take = ARGV[3] == '1' and (ARGV[7] == '' or ARGV[7] == run)
local continues = known[1] == me and mine > 0 and current <= mine
if holder == me or (not holder and (continues or may_take)) then
    local epoch = continues and mine or math.max(current, tonumber(ARGV[5])) + 1
    redis.call('HSET', meta, 'leader', me, 'epoch', epoch)
    if ARGV[6] ~= '' then redis.call('HSET', meta, 'status', ARGV[6]) end
    redis.call('SET', key .. 'lease', me, 'PX', math.ceil(ARGV[2] * 1000))
    holder = me
end
local facts = redis.call('HMGET', meta, 'version', 'mark', 'news', 'epoch', 'status')
return {
    holder == me and 1 or 0, math.max(redis.call('PTTL', key .. 'lease'), 0),
    tonumber(facts[1] or 0), facts[2] or '', tonumber(facts[3] or 0), tonumber(facts[4] or 0), facts[5] or '', run
}
