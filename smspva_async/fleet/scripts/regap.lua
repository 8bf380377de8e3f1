-- Change the gap after an answer. ARGV: the number of the request, the gap that the process knew, the new gap.
-- Requests that began before the gap grew don't count. A repeated change does nothing.
local pace = KEYS[1] .. 'pace'
local state = redis.call('HMGET', pace, 'number', 'grown', 'last')
local old, new, grown = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(state[2] or 0)
if tonumber(ARGV[1]) > tonumber(state[3] or 0) then
    if new > old then
        redis.call('HSET', pace, 'grown', math.max(grown, new), 'last', state[1] or 0)
    elseif math.abs(grown - old) < 1e-6 * old then -- a number may lose its last digits on the way
        redis.call('HSET', pace, 'grown', new)
    end
end
return 1
