-- Return the members except one with the changes that each is behind (-1: no watcher), the leader, milliseconds of its
-- lease, the newest event, and the gap. ARGV: the member to leave out.
local key = KEYS[1]
local now = clock()
local facts = redis.call('HMGET', key .. 'meta', 'version', 'seq')
local alive = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', key .. 'members', now, '+inf')) do
    if member ~= ARGV[1] then
        local version = redis.call('HGET', key .. 'versions', member)
        table.insert(alive, member)
        table.insert(alive, version and math.max((facts[1] or 0) - version, 0) or -1)
    end
end
local setting = redis.call('ZREVRANGE', key .. 'pace:gaps', 0, 0)
local gap = tonumber(redis.call('HGET', key .. 'pace', 'grown') or 0)
for _, own in ipairs(redis.call('ZRANGEBYSCORE', key .. 'pace:gaps', now - 600, '+inf')) do
    gap = math.max(gap, tonumber(own))
end
return {
    alive, redis.call('GET', key .. 'lease') or '', math.max(redis.call('PTTL', key .. 'lease'), 0),
    facts[2] or 0, #setting > 0 and string.format('%.17g', gap) or ''
}
