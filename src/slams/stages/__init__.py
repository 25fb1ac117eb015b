"""Stages behind the verbs of the command line: each composes other packages, computes nothing."""
