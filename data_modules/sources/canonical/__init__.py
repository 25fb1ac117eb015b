"""The canonical form of a source: layouts of variables, time steps of a day, repairs."""
