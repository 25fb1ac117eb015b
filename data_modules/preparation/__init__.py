"""`slams prepare`: from source files to a training store, block by block, resumable."""
