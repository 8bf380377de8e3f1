-- Delay all requests. ARGV: seconds.
local pace = KEYS[1] .. 'pace'
local paused = clock() + ARGV[1]
if paused > tonumber(redis.call('HGET', pace, 'paused') or 0) then redis.call('HSET', pace, 'paused', paused) end
return 1
