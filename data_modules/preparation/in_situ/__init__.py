"""Station reports on their way into the training store: placed, checked, averaged, thinned."""
