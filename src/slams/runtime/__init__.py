"""The process: signals, ranks, the SLURM job, failures, and files replaced atomically."""
