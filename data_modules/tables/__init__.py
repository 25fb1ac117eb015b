"""Tables of reports as users give them, whatever they are read from."""
