-- Make a member the holder of a consumer's name. ARGV: member, name, position of a new name, name as JSON.
-- Returns the name's position, and the number of the last news.
local key, me, name = KEYS[1], ARGV[1], ARGV[2]
-- Never the larger of the two: the member's position may be out of date, and would skip unread events.
redis.call('HSETNX', key .. 'cursors', name, ARGV[3])
if redis.call('HGET', key .. 'holders', name) ~= me then
    redis.call('HSET', key .. 'holders', name, me)
    post('taken', me, ARGV[4])
end
return {redis.call('HGET', key .. 'cursors', name), tonumber(redis.call('HGET', key .. 'meta', 'news') or 0)}
