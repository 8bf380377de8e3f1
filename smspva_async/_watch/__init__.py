"""What a `Watcher` is made of: when to ask, what is asked, what is kept of it, and who reads that.

`poller` runs: `schedule` (with `budget`, `plan` and `demand`) says which call comes next, `collector` makes it of a
`source`, and `recorder` writes what it brought to the journal. From there `feed` gives it to each `subscription` and to
`waits`, which `active_number` uses; `cursors` keeps the places that have a name, `keeper` the numbers to be kept up.
"""
