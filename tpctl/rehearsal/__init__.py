"""Floor 4, above the engine: the engine as it runs live, on the twin in the same process, under virtual time.

One seed is one story, bit for bit (I21): no sockets, no threads, no wall clock. A witness judges every instant by the
exchange's own ledger.
"""
