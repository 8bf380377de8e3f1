"""The parts of a `Watcher`.

The `poll_loop` makes one request after another: the `scheduler` chooses it, a `source` makes it, `diff` finds the new
events in the answer, and `journal_io` commits them to the journal. Each `subscription` and each of the `waits` reads
the journal on its own. `activation` keeps numbers active, and `clock` derives the server's time.
"""
