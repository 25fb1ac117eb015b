"""Observations of a recipe, with their `H`, `R` and masks."""
