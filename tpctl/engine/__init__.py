"""Floor 4: the imperative shell of `watch`: feed, decide, guard, exchange, journal."""
