"""One account, many processes: `RedisFleet` shares the pace, the ledger and the journal. Needs the extra ``redis``."""
