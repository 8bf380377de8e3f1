-- Write a member's whole replica, if Redis has lost newer data than it has.
-- ARGV: member, epoch, version, mark, news number, form, account, head, sequence numbers before the first and of the
-- last event. Then lists, each after its length: events, tracks, messages. Returns 1 if it was necessary.
local key, version, number = KEYS[1], tonumber(ARGV[3]), tonumber(ARGV[5])
local meta, events = key .. 'meta', key .. 'events'
local known = redis.call('HMGET', meta, 'version', 'mark', 'news', 'epoch', 'seq', 'oldest')
local current, news = tonumber(known[1] or 0), tonumber(known[3] or 0)
if version < current or (version == current and (known[2] ~= ARGV[4] or number <= news)) then return 0 end

redis.call('HSETNX', meta, 'form', ARGV[6])
redis.call('HSETNX', meta, 'account', ARGV[7])
local first, last, newest = tonumber(ARGV[9]), tonumber(known[5] or 0), tonumber(ARGV[10])
local oldest = tonumber(known[6] or 0)
local has = 0 -- the last event that the stream has as it should be
if last < first or oldest > first then
    redis.call('DEL', events)
    oldest = first
else
    has = math.min(last, newest)
    local is_same, seq = has == last, first
    while is_same and seq < has do
        seq = seq + 1
        local entry = redis.call('XRANGE', events, seq .. '-0', seq .. '-0')[1]
        is_same = entry and entry[2][2] == ARGV[11 + 3 * (seq - first)]
    end
    if not is_same and redis.call('EXISTS', events) == 1 then
        -- Another leader has written others since. A stream's numbers can't be taken back, so it is made again.
        local before, from = key .. 'events:before', '-'
        redis.call('RENAME', events, before)
        while from do
            local batch = redis.call('XRANGE', before, from, first .. '-0', 'COUNT', 1000)
            from = nil
            for _, entry in ipairs(batch) do
                redis.call('XADD', events, entry[1], unpack(entry[2]))
                from = '(' .. entry[1]
            end
        end
        redis.call('DEL', before)
    end
    if not is_same then has = 0 end
end
local position = each(11, 3, function(seq, at, event)
    if tonumber(seq) > has then redis.call('XADD', events, seq .. '-0', 'event', event, 'at', at) end
end)
redis.call('DEL', key .. 'tracks', key .. 'messages')
position = each(position, 2, function(order, track) redis.call('HSET', key .. 'tracks', order, track) end)
each(position, 2, function(message, count) redis.call('HSET', key .. 'messages', message, count) end)

-- So far ahead that no member has read that number.
news = math.max(news, number) + 1000000
redis.call('HSET', meta, 'version', ARGV[3], 'mark', ARGV[4], 'head', ARGV[8], 'seq', ARGV[10], 'oldest', oldest,
    'epoch', math.max(tonumber(known[4] or 0), tonumber(ARGV[2])), 'news', news)
redis.call('XADD', key .. 'news', news .. '-0', 'kind', 'restored', 'member', ARGV[1], 'data', 'null')
return 1
