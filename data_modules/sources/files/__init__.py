"""Finding and opening the files and stores of a source, on disk and at public addresses."""
