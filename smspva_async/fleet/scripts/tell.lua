-- Post news. ARGV: member, kind, data.
local number = redis.call('HINCRBY', KEYS[1] .. 'meta', 'news', 1)
redis.call('XADD', KEYS[1] .. 'news', 'MAXLEN', '~', 10000, number .. '-0',
    'kind', ARGV[2], 'member', ARGV[1], 'data', ARGV[3])
return number
