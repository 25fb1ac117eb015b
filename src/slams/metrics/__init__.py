"""Verification: statistics per case, metrics as functions of their means, intervals, tables."""
