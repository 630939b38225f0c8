"""Floor 3: the twin, an exchange that behaves as Binance USD-M futures does."""
