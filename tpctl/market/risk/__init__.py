"""Market and portfolio risk over candle arrays, each measure by its published definition (learning 9).

`readings` and `replay` are pure Python; everything else needs numpy, the `risk` extra, and is imported where it is
used. The value of a measure at a candle uses that candle and earlier ones only.
"""
