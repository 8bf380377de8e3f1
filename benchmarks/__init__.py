"""Benchmarks of the library's speed, memory and load: `python -m benchmarks`.

Each row is measured together with its baseline, in the same run. `docs/benchmarks.md` shows the last results.
"""
