"""The process: signals, ranks, SLURM's job, failures, files replaced in one step."""
