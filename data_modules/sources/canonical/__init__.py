"""The canonical form of a source: how files hold variables, which steps make a day, repairs."""
