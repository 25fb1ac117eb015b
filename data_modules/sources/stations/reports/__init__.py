"""Shared parts of the readers of station archives: finding files, and the table of reports."""
