-- Read the ledger's stamp and the members that are alive. ARGV: the stamp that this process saw last, or ''.
-- A stamp is "epoch:changes:token". Each restoration begins an epoch, each change has a token of its own.
-- Returns the stamp, 1 if writes were lost since, 1 if WAITAOF works, and the members.
local key = KEYS[1]
local stamp = redis.call('HGET', key .. 'meta', 'ledger') or '0:0:'
local is_lost = 0
if ARGV[1] ~= '' then
    local epoch, changes = string.match(stamp, '^(%d+):(%d+):')
    local seen_epoch, seen_changes = string.match(ARGV[1], '^(%d+):(%d+):')
    if epoch ~= seen_epoch or tonumber(changes) < tonumber(seen_changes) then is_lost = 1 end
end
local can_wait = 0
if (redis.REDIS_VERSION_NUM or 0) >= 0x00070200 and string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1') then
    can_wait = 1
end
return {stamp, is_lost, can_wait, redis.call('ZRANGEBYSCORE', key .. 'members', '(' .. clock(), '+inf')}
