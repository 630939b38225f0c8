"""Guard the exits of Binance USD-M futures positions."""

__version__ = "0.1.0"
