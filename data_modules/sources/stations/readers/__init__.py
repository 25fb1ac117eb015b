"""Readers of public station archives, one module per layout."""
