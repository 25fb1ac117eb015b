"""`slams prepare`: convert source files to a training store, block by block, resumable."""
