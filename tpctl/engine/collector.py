"""Keeps the garbage collector out of the way of decisions."""

import gc


def settle_objects() -> None:
    """Take everything made so far for permanent: a full collection then looks at what came later only.

    Called once a run is put together. The modules alone are hundreds of thousands of objects, and looking at them all
    takes tens of milliseconds in which nothing is decided.
    """
    gc.collect()
    gc.freeze()
