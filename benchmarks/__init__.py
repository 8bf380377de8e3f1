"""What the library costs and how quick it is, measured: `python -m benchmarks`.

Each row is measured beside what it is compared with, in the same run. See `README.md` for the last figures.
"""
