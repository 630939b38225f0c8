"""Floor 3: the outside world: the exchange client, the journal, files, market data."""
