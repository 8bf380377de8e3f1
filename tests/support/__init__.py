"""Helpers of the tests, one subject a module."""

PATIENCE = 120.0
"""Seconds to wait for another process or thread: far more than it takes, also on a machine at ten times the load."""
