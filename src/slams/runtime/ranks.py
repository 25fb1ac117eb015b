"""The rank of this process, known before torch is imported.

Launchers pass it in the environment: torchrun sets `RANK`, SLURM `SLURM_PROCID`, Lightning starts
the same command again with `LOCAL_RANK` (and `NODE_RANK` on several nodes).
"""

from __future__ import annotations

import os
import re

from slams.errors import UserError

__all__ = ["check_launcher", "is_rank_zero", "say"]

# Variable -> smallest value. Lightning and torch read them as whole numbers; each would raise its
# own traceback, or wait for ranks that do not exist.
_NUMBERS = {
    "RANK": 0,
    "LOCAL_RANK": 0,
    "NODE_RANK": 0,
    "GROUP_RANK": 0,
    "WORLD_SIZE": 1,
    "LOCAL_WORLD_SIZE": 1,
    "MASTER_PORT": 0,
    "SLURM_PROCID": 0,
    "SLURM_LOCALID": 0,
    "SLURM_NODEID": 0,
    "SLURM_NTASKS": 1,
    "SLURM_NNODES": 1,
    "SLURM_JOB_ID": 0,
    "SLURM_RESTART_COUNT": 0,
}
# For variables that only this program reads, empty is the same as unset.
_MAY_BE_EMPTY = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT")
# More digits than any of the values has; without leading zeros.
_WHOLE_NUMBER = "0|[1-9][0-9]{0,17}"
# A rank counts from 0 to one less than the number of ranks.
_BELOW = {"RANK": "WORLD_SIZE", "LOCAL_RANK": "LOCAL_WORLD_SIZE"}


def is_rank_zero() -> bool:
    """Return whether this process is the one that writes files and prints."""
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # Child processes of Lightning inherit the SLURM variables of their parent: all must be 0.
    names = ("SLURM_PROCID", "LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def check_launcher() -> None:
    """Refuse environment variables with values that no launcher sets.

    Raises:
        UserError: One of them is not a whole number, or a rank is not below the number of ranks.
    """
    for name, smallest in _NUMBERS.items():
        text = os.environ.get(name)
        if text is None or (text == "" and name in _MAY_BE_EMPTY):
            continue
        if not re.fullmatch(_WHOLE_NUMBER, text) or int(text) < smallest:
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise UserError(
                f"environment variable {name}: found {shown!r}, expected a whole number of at "
                f"least {smallest}, as a launcher (srun, torchrun) sets it; unset it to run "
                f"without one"
            )
    for rank, size in _BELOW.items():
        if rank in os.environ and size in os.environ:
            found, ranks = int(os.environ[rank]), int(os.environ[size])
            if found >= ranks:
                raise UserError(
                    f"environment variable {rank}: found {found}, expected less than {size}, "
                    f"which is {ranks}; unset both to run without a launcher"
                )


def say(text: str) -> None:
    """Print a line at once, on rank zero only."""
    if is_rank_zero():
        print(text, flush=True)
