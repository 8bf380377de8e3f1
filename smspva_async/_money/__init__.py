"""Calls that spend: sent once (`spending`), written down (`books`, `ledger`), and judged afterwards (`reconcile`)."""
