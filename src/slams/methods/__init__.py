"""The assimilation methods and first guesses of this package, by their specifications."""
