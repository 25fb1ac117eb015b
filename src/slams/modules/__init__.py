"""Lightning modules, their callbacks and the one Trainer factory."""
