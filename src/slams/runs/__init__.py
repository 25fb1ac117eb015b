"""Run directories: what they hold, where they are, and what a run was made with."""
