-- Post news. ARGV: member, kind, data.
return post(ARGV[2], ARGV[1], ARGV[3])
