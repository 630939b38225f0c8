"""Floor 2: numerics over candles: volatility, ranges, regime."""
