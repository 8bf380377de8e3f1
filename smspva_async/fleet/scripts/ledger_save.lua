-- Write rows. An outcome never gives way to one that says less, so late and repeated writes do no harm.
-- ARGV: "save" or "restore", the stamp that this process saw last, the new token, then call, row, call, row...
-- Returns the stamps before and after, and the number of rows that were not written.
local key = KEYS[1]
local is_save = ARGV[1] == 'save'

local function rank(row)
    if not row then return -1 end
    local is_readable, values = pcall(cjson.decode, row)
    local outcome = is_readable and type(values) == 'table' and values[10]
    if type(outcome) ~= 'string' then return 0 end
    return outcome == 'unknown' and 1 or outcome == 'settled' and 2 or 3
end

local before = redis.call('HGET', key .. 'meta', 'ledger') or '0:0:'
local epoch, changes = string.match(before, '^(%d+):(%d+):')
if not is_save then
    local seen_epoch = string.match(ARGV[2], '^(%d+):')
    epoch = math.max(tonumber(epoch), tonumber(seen_epoch or -1) + 1)
end
local after = string.format('%d:%d:%s', epoch, changes + 1, ARGV[3])
redis.call('HSET', key .. 'meta', 'ledger', after)
local kept = 0
for i = 4, #ARGV, 2 do
    local new, old = rank(ARGV[i + 1]), rank(redis.call('HGET', key .. 'ledger', ARGV[i]))
    if new > old or (is_save and new == old) then
        redis.call('HSET', key .. 'ledger', ARGV[i], ARGV[i + 1])
    else
        kept = kept + 1
    end
end
return {before, after, kept}
