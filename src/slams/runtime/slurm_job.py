"""The SLURM job that this process is a task of: its state, and its requeue.

A job that stops with a checkpoint is requeued under the same number; it then runs the same
command, which continues in the same run directory. Rank zero requests the requeue.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from slams.runtime.signals import seconds_running

__all__ = ["Job", "is_task", "job_id", "requeue", "restarted"]

# Seconds that `scontrol` may take: busy controllers of large clusters are slow.
_PATIENCE = 60
# A signal this close to the end of a job (s) is taken as its time limit.
_NEAR_THE_END = 600
# Requeues of a job without a checkpoint from this attempt: SIGTERM also comes from srun, when
# another rank has died of an error that would occur again.
_IN_VAIN = 5


@dataclass(frozen=True)
class Job:
    """State of a job as SLURM reports it.

    Attributes:
        state: `RUNNING`; `COMPLETING` from the moment that SLURM begins to end it, for whatever
            reason; then `CANCELLED`, `TIMEOUT`, ...
        reason: `TimeLimit` where it is ended because its time is up; `None` where it is cancelled.
        batch: Whether it was submitted with `sbatch`; only such a job can be requeued.
        left: Seconds to its end; infinite without a time limit.
        restarts: Number of times it was requeued.
    """

    state: str
    reason: str
    batch: bool
    left: float
    restarts: int

    @classmethod
    def read(cls) -> Job | None:
        """Query SLURM for the job of this process; return `None` where it does not answer."""
        text = _scontrol("show", "job", "--oneliner", job_id())[1]
        found = dict(re.findall(r"(\w+)=(\S+)", text))
        if "JobState" not in found:
            return None
        left = float("inf")
        try:
            end = datetime.fromisoformat(found.get("EndTime", ""))
            left = end.timestamp() - time.time()
        except ValueError:  # `Unknown`
            pass
        restarts = found.get("Restarts", "0")
        return cls(
            found["JobState"],
            found.get("Reason", ""),
            found.get("BatchFlag") == "1",
            left,
            int(restarts) if restarts.isdigit() else 0,
        )


def job_id() -> str:
    """Return the number of the job that this process is a task of; empty outside of SLURM."""
    return os.environ.get("SLURM_JOB_ID", "")


def is_task() -> bool:
    """Return whether SLURM started this process as one of a job's ranks.

    Processes of an interactive session start their own ranks, as they do without SLURM;
    Lightning distinguishes the two cases by the same job names.
    """
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and not interactive


def restarted() -> bool:
    """Return whether SLURM runs this job again, after a requeue or the loss of a node."""
    return job_id() != "" and os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def requeue(saved: bool) -> str:
    """Request a requeue of this job; return a sentence with the result.

    Not for a job that was cancelled, which a requeue would restart; nor for one that has used up
    its time without anything to continue from: it would do so again indefinitely.

    Args:
        saved: Whether a checkpoint was written in this attempt.
    """
    job, number = Job.read(), job_id()
    if job is None:
        return f"job {number}: scontrol does not answer, submit it again"
    if not job.batch:
        return "the same command continues; an interactive job is not requeued"
    if job.state != "RUNNING" and job.reason != "TimeLimit":
        return f"job {number} was cancelled or ended by SLURM, and is not requeued"
    if not saved and job.restarts >= _IN_VAIN:
        return (
            f"job {number} was run again {job.restarts} times and has nothing to continue "
            f"from; it is not requeued, its log may show why"
        )
    if not saved and job.left < min(_NEAR_THE_END, seconds_running()):
        return (
            f"job {number} has used up its time with nothing to continue from and is not "
            f"requeued; submit it with a longer --time or more nodes"
        )
    code, answer = _scontrol("requeue", number)
    if code:
        return f"job {number} could not be requeued ({answer}), submit it again"
    return f"job {number} is requeued and continues automatically"


def _scontrol(*words: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            ["scontrol", *words], capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, (done.stdout + done.stderr).strip()
