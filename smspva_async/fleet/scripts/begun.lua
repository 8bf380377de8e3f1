-- Record that a request has begun. ARGV: member, ticket, priority, the slot's number, seconds ago.
local pace, member, ticket, priority, number = KEYS[1] .. 'pace', ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local begun = clock() - ARGV[5]
local state = redis.call('HMGET', pace, 'begun', 'ticket', 'number', 'counted')
if begun > tonumber(state[1] or 0) then redis.call('HSET', pace, 'begun', begun) end
if state[2] == ticket then redis.call('HDEL', pace, 'ticket') end
redis.call('ZREM', pace .. ':' .. priority, member)
-- Not if this was done before, or if Redis has lost the slot.
if number > tonumber(state[4] or 0) and number <= tonumber(state[3] or 0) then
    redis.call('HSET', pace, 'counted', number)
    for _, other in ipairs({'spending', 'foreground', 'polls'}) do
        if other == priority then
            redis.call('HSET', pace, other, 0)
        elseif redis.call('HEXISTS', pace, other) == 1 then
            redis.call('HINCRBY', pace, other, 1)
        end
    end
end
return 1
