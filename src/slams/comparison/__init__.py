"""Settings compared with one another: their scores, tables and figures."""
