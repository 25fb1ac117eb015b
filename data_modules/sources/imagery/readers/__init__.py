"""Readers of imagery, one module per layout."""
