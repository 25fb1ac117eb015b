"""The time axis that all rooms share: days since 1970-01-01 00 UTC."""
