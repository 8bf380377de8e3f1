-- Ask for the next slot, and register what waits in this process. If nothing waits, withdraw.
-- ARGV: member, ticket, the member's gap, factor of the time to begin, then for each priority the seconds that its
-- first waiter has waited, -1 if none waits, '' if it can't use the slot and nothing has changed.
-- Returns the chosen priority or '', the seconds after which to ask again, the slot's number, the gap and its setting.
local pace, member, ticket = KEYS[1] .. 'pace', ARGV[1], ARGV[2]
local PRIORITIES, GRACE, MEMORY = {'spending', 'foreground', 'polls'}, 0.1, 600
local now = clock()

redis.call('ZADD', pace .. ':gaps', now, ARGV[3])
redis.call('ZREMRANGEBYSCORE', pace .. ':gaps', '-inf', now - MEMORY)
local setting = 0
for _, gap in ipairs(redis.call('ZRANGE', pace .. ':gaps', 0, -1)) do setting = math.max(setting, tonumber(gap)) end

local skips, own = {}, {} -- slots that went to others, by priority: of all waiting ones, and of the member's
for place, priority in ipairs(PRIORITIES) do
    local waiting, waited = pace .. ':' .. priority, tonumber(ARGV[4 + place])
    if waited and waited >= 0 then
        redis.call('ZADD', waiting, now - waited, member)
    elseif waited then
        redis.call('ZREM', waiting, member)
    end
    if redis.call('EXISTS', waiting) == 1 then
        redis.call('HSETNX', pace, priority, 0)
        skips[priority] = tonumber(redis.call('HGET', pace, priority))
        if waited and waited >= 0 then own[priority] = skips[priority] end
    else
        redis.call('HDEL', pace, priority)
    end
end

local state = redis.call('HMGET', pace, 'begun', 'paused', 'ticket', 'granted', 'until', 'number', 'grown')
local begun, paused, holder = tonumber(state[1] or 0), tonumber(state[2] or 0), state[3]
local granted, expires = tonumber(state[4] or 0), tonumber(state[5] or 0)
local number, gap = tonumber(state[6] or 0), math.max(setting, tonumber(state[7] or 0))
if holder == ticket or granted > now then -- it wasn't used, or the clock was set back
    redis.call('HDEL', pace, 'ticket')
    holder = false
end
if begun > now then -- the clock was set back
    begun = now
    redis.call('HSET', pace, 'begun', now)
end

local function answer(priority, wait)
    return {priority, string.format('%.6f', wait), number, string.format('%.17g', gap), string.format('%.17g', setting)}
end

-- The same rule as `next_priority` in Python.
local function next_priority(counts)
    if (counts.polls or 0) >= 3 then return 'polls' end
    if (counts.foreground or 0) >= 2 then return 'foreground' end
    for _, priority in ipairs(PRIORITIES) do
        if counts[priority] then return priority end
    end
end

if not next(own) then return answer('', 0) end
local free = math.max(begun + gap, paused)
if holder and expires > now then
    free = math.max(free, granted + gap) -- if the request has begun at once
    return answer('', (free > now and free or expires) - now)
end
if holder then free = math.max(free, expires) end
if free > now then return answer('', free - now) end

local chosen = next_priority(skips)
local first = redis.call('ZRANGE', pace .. ':' .. chosen, 0, 0)[1]
if first ~= member then
    local turn = first .. ':' .. number
    if redis.call('HGET', pace, 'turn') ~= turn then redis.call('HSET', pace, 'turn', turn, 'offered', now) end
    local grace = redis.call('HGET', pace, 'offered') + GRACE - now
    if grace > 0 and grace <= GRACE then return answer('', math.min(grace, math.max(gap, 0.001))) end
    for _, priority in ipairs(PRIORITIES) do redis.call('ZREM', pace .. ':' .. priority, first) end -- it is silent
    chosen = next_priority(own)
end
number = number + 1
redis.call('HSET', pace, 'ticket', ticket, 'granted', now, 'until', now + gap * (1 + ARGV[4] / 4), 'number', number)
return answer(chosen, 0)
