"""The time axis of the whole program: days since 1970-01-01 00 UTC."""
