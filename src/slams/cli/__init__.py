"""The command line: its verbs, their arguments, and how the program ends."""
