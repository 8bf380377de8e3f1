-- Show that a member is alive. ARGV: member, lease in seconds.
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1] .. 'members', now[1] + now[2] / 1e6 + ARGV[2], ARGV[1])
return 1
