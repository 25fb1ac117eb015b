"""Nature runs: made with a general circulation model, and how their files are laid out."""
