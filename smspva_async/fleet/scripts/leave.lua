-- Leave a fleet. ARGV: member.
redis.call('ZREM', KEYS[1] .. 'members', ARGV[1])
return 1
