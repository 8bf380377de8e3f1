"""Test helpers, one subject per module."""

PATIENCE = 120.0
"""Seconds to wait for another process or thread, much longer than needed even under heavy load."""
