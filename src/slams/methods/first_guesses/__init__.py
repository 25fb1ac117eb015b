"""Specifications of the first guesses of this package, one module per first guess."""
