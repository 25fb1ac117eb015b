"""Comparison of settings: their scores, tables and figures."""
