"""Binance payloads to the model, and intents to wire parameters: pure functions, no I/O, no client library."""
