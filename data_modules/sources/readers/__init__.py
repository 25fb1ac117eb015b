"""Readers of public layouts of fields, one module per layout."""
