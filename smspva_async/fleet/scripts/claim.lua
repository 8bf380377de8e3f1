-- Claim a right for some time, again if it is this member's. ARGV: member, name, milliseconds (0: give it up).
-- Returns 1 if the member has it.
local claim, me = KEYS[1] .. 'claim:' .. ARGV[2], ARGV[1]
local holder = redis.call('GET', claim)
if holder and holder ~= me then return 0 end
if ARGV[3] == '0' then
    redis.call('DEL', claim)
    return 0
end
redis.call('SET', claim, me, 'PX', ARGV[3])
return 1
