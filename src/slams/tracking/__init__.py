"""MLflow: one tracked run per stage, the runs of sweeps, and copies to a server."""
