"""Run directories: what they hold, where they lie, and what a run was made with."""
