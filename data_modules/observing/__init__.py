"""Stations and imagery of a recipe with their `H`, `R` and masks."""
