"""Nature runs: simulation with a general circulation model, and the layout of their files."""
