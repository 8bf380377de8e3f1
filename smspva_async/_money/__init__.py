"""Calls that spend: sent once (`spending`), written down (`books`, `ledger`) and, if need be, judged (`reconcile`).

They are judged by what the server showed of the orders before (`sightings`) and shows now (`evidence`).
"""
