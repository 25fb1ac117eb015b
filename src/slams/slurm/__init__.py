"""`slams submit`: its options, the batch scripts it writes, and how they are handed to SLURM."""

from __future__ import annotations

from slams.slurm.submit import STAGES, Request, submit

__all__ = ["STAGES", "Request", "submit"]
