"""Files and stores of a source: found and opened, on disk and behind public addresses."""
