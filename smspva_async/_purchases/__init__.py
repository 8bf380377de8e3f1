"""Spending calls: the tracker that sends each once, the store that records them, and reconciliation."""
