"""Floor 2: the configuration file, read strictly into frozen records, with the origin of every value.

`schema` says what can be configured, `bind` turns a TOML table into records, `load` finds and reads the file.
The configuration can never arm and never holds a key.
"""
