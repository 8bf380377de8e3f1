-- Move named cursors forward, never back. ARGV: member (empty: whichever member holds the names), then name, position, ...
-- Returns the names that other members hold, which don't move. A name becomes the member's if its holder isn't alive.
local key, me, others = KEYS[1], ARGV[1], {}
for index = 2, #ARGV, 2 do
    local name, place = ARGV[index], ARGV[index + 1]
    local holder = me ~= '' and redis.call('HGET', key .. 'holders', name) or me
    if holder ~= me and redis.call('ZSCORE', key .. 'members', holder) then
        others[#others + 1] = name
    else
        if tonumber(place) >= tonumber(redis.call('HGET', key .. 'cursors', name) or 0) then
            redis.call('HSET', key .. 'cursors', name, place)
        end
        if me ~= '' then redis.call('HSET', key .. 'holders', name, me) end
    end
end
return others
