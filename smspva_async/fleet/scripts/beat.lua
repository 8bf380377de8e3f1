-- Show that a member is alive. ARGV: member, lease in seconds.
beat(ARGV[1], ARGV[2])
return 1
