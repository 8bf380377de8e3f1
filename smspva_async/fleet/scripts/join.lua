-- Join a fleet, and make its form and account if it is new.
-- ARGV: form, fingerprint, member, lease in seconds. Returns the form and the fingerprint; joins only if both fit.
local key = KEYS[1]
local meta = redis.call('HMGET', key .. 'meta', 'form', 'account')
local form, account = meta[1] or ARGV[1], meta[2] or ARGV[2]
if tonumber(form) <= tonumber(ARGV[1]) and account == ARGV[2] then
    redis.call('HSET', key .. 'meta', 'form', ARGV[1], 'account', account)
    beat(ARGV[3], ARGV[4])
end
return {form, account}
