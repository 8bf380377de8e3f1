-- Append events, replace the state and move held names, if this member leads.
-- ARGV: member, epoch, version before, mark before, mark of this write, head, news (empty: too large), sequence number
-- of the newest event, number up to which events are too many, Unix time before which they are too old (or empty).
-- Then lists, each after its length: events, tracks, messages, lost tracks, lost messages, places.
-- Returns 'done', 'lost' (Redis is behind this member) or 'fenced', and the position before the oldest event.
local key, me, epoch, version, before, mark = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local meta, events = key .. 'meta', key .. 'events'
local known = redis.call('HMGET', meta, 'version', 'mark', 'epoch', 'leader', 'oldest')
local current, oldest = tonumber(known[1] or 0), tonumber(known[5] or 0)
if known[2] == mark then return {'done', oldest} end -- the reply was lost
if current < version then return {'lost', oldest} end
if redis.call('GET', key .. 'lease') ~= me or known[4] ~= me or known[3] ~= epoch
    or current ~= version or (known[2] or '') ~= before then
    return {'fenced', oldest}
end

local first
local position = each(11, 3, function(seq, at, event)
    first = first or tonumber(seq)
    redis.call('XADD', events, seq .. '-0', 'event', event, 'at', at)
end)
-- After the events, which Redis refuses if their numbers don't follow.
redis.call('HSET', meta, 'version', version + 1, 'mark', mark, 'head', ARGV[6])
position = each(position, 2, function(order, track) redis.call('HSET', key .. 'tracks', order, track) end)
position = each(position, 2, function(message, count) redis.call('HSET', key .. 'messages', message, count) end)
position = each(position, 1, function(order) redis.call('HDEL', key .. 'tracks', order) end)
position = each(position, 1, function(message) redis.call('HDEL', key .. 'messages', message) end)
each(position, 2, function(name, place)
    local holder = redis.call('HGET', key .. 'holders', name)
    if not holder then redis.call('HSET', key .. 'holders', name, me) end
    if (not holder or holder == me) and tonumber(place) >= tonumber(redis.call('HGET', key .. 'cursors', name) or 0) then
        redis.call('HSET', key .. 'cursors', name, place)
    end
end)

if first then
    local bound, young = tonumber(ARGV[9]), tonumber(ARGV[10])
    local from = '-'
    while young and from do
        local batch = redis.call('XRANGE', events, from, '+', 'COUNT', from == '-' and 1 or 100)
        from = nil
        for _, entry in ipairs(batch) do
            local at = tonumber(entry[2][4])
            if at >= young then
                from = nil
                break
            end
            from = '(' .. entry[1]
            -- An event without a certain time is as old as the next one that has one.
            if at > 0 then bound = math.max(bound, tonumber(string.match(entry[1], '%d+'))) end
        end
    end
    bound = math.min(bound, first - 1) -- a reader that was caught up can read all of this write
    for _, place in ipairs(redis.call('HVALS', key .. 'cursors')) do bound = math.min(bound, tonumber(place)) end
    if bound > oldest then
        oldest = bound
        redis.call('XTRIM', events, 'MINID', bound + 1 .. '-0')
    end
    redis.call('HSET', meta, 'seq', ARGV[8], 'oldest', oldest)
end

post(ARGV[7] == '' and 'reload' or 'change', me, ARGV[7],
    'version', version + 1, 'before', before, 'mark', mark, 'oldest', oldest)
return {'done', oldest}
