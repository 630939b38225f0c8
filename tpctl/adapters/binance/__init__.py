"""The account on Binance USD-M futures, over REST. The only importer of the client library, in `wire` alone.

Importing this package costs nothing: the client library (0.3 s) is loaded with `client`.
"""
