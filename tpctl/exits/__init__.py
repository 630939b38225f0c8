"""The core exit package: pure, deterministic, standard library only.

It does no I/O, reads no clock, draws no random number and logs nothing. Time arrives in events.
"""
