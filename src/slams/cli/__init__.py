"""The command line: verbs, arguments and exit codes."""
