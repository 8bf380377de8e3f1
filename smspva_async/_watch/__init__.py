"""The parts of a `Watcher`.

`poll_loop` makes one request after another: `scheduler` decides which, a `source` makes it, `diff` finds what is new in
the answer, and `store` commits that to the journal. On the reading side (`reader`) each `subscription`, named consumer
(`consumers`) and wait (`waits`) reads the journal by itself; `waiters` counts what is wanted, and `activation` keeps
numbers active.
"""
