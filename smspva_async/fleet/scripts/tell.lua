-- Post news. ARGV: member, kind, data.
post(ARGV[2], ARGV[1], ARGV[3])
return 1
