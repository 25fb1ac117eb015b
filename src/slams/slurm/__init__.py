"""`slams submit`: its options, the batch scripts it writes, and their submission to SLURM."""

from __future__ import annotations

from slams.slurm.submit import submit

__all__ = ["submit"]
