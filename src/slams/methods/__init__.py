"""The assimilation methods and first guesses of this package, as the rest of it knows them."""
