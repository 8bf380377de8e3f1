-- Functions for all scripts, which `script_of` puts in front of each.
-- Return the time of Redis in Unix seconds.
local function clock()
    local time = redis.call('TIME')
    return time[1] + time[2] / 1e6
end

-- Count a member as alive for some seconds.
local function beat(member, seconds) redis.call('ZADD', KEYS[1] .. 'members', clock() + seconds, member) end

-- Add an entry to the news, with more fields and values if given.
local function post(kind, member, data, ...)
    local number = redis.call('HINCRBY', KEYS[1] .. 'meta', 'news', 1)
    redis.call('XADD', KEYS[1] .. 'news', 'MAXLEN', '~', 10000, number .. '-0',
        'kind', kind, 'member', member, 'data', data, ...)
end

-- Call a function with each element of a list in ARGV, which begins with its length. Return the position after the list.
local function each(position, width, action)
    local last = position + ARGV[position] * width
    for first = position + 1, last, width do action(unpack(ARGV, first, first + width - 1)) end
    return last + 1
end
