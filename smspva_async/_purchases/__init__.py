"""Calls that spend: sent once, recorded before that (`tracker`, `store`) and, if need be, judged (`reconcile`)."""
