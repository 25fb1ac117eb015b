"""Lightning modules, their callbacks and the Trainer factory."""
