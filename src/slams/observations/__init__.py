"""Observations: operators `H`, errors `R`, backgrounds and quality control."""
