"""Methods that turn a background and observations into an analysis ensemble."""
