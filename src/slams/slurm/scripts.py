"""Text of the SLURM batch scripts that `slams submit` writes.

Every script is a header of `#SBATCH` lines, the command as a bash array, and one body that all
scripts share, those in `experiments/slurm/` too. Values are quoted for the shell, so that the text
of a recipe or an override reaches the program unchanged.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from slams.errors import UserError

__all__ = ["BODY", "job_script", "signal_lead"]

BODY = """\
# Since SLURM 22.05 srun does not inherit this from sbatch.
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# Signals are for the tasks, which save and have the job requeued; they would kill this shell.
trap : USR1 TERM

status=0
srun --kill-on-bad-exit=1 --wait=0 "${command[@]}" || status=$?

# Rank zero requeues a job that was signalled, and SLURM one that has lost a node. The remaining
# case is a signal that came before the program had a handler (128 + 10).
if [ "$status" -eq 138 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 10 ]; then
    echo "slams: a signal came before the program had started; job $SLURM_JOB_ID is requeued" >&2
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
"""

# Longest and shortest time (s) between SLURM's signal and the end of a job.
_LONGEST_LEAD, _SHORTEST_LEAD = 600, 30


def signal_lead(seconds: int) -> int:
    """Return how long before its end a job is signalled (s): a tenth of its time, within limits.

    SLURM may signal up to a minute earlier than that.

    Args:
        seconds: Time limit of the job (s); 0 where it is not known.
    """
    return min(_LONGEST_LEAD, max(_SHORTEST_LEAD, seconds // 10)) if seconds else 300


def job_script(
    name: str,
    command: Sequence[str],
    resources: Sequence[str],
    *,
    log: str,
    directory: str,
    array: str = "",
    origin: str = "",
) -> str:
    """Return the text of a batch script.

    Args:
        name: Name of the job.
        command: The program and its arguments; `$NAME` alone refers to a variable of the job.
        resources: Options of sbatch for the resources of the job.
        log: File of everything it prints; a requeued job appends to it.
        directory: Working directory.
        array: Numbers of a job array, for example `0-11%4`; "" for a single job.
        origin: The command that wrote the script, for the reader.

    Raises:
        UserError: A value holds a line break or another control character.
    """
    directives = [
        f"--job-name={shlex.quote(name)}",
        *([f"--array={array}"] if array else []),
        *resources,
        f"--chdir={shlex.quote(directory)}",
        f"--output={shlex.quote(log)}",
        "--open-mode=append",
        "--requeue",
    ]
    # A line break would end a comment, and the shell would run the rest.
    for text in (*directives, *command, origin):
        if not text.isprintable():
            raise UserError(
                f"the batch script of job {name!r}: found {text!r}, expected no line breaks or "
                f"other control characters in options, overrides and paths"
            )
    lines = ["#!/usr/bin/env bash"]
    lines += [f"#SBATCH {directive}" for directive in directives]
    lines += ["", *([f"# Written by: {origin}"] if origin else []), "command=("]
    lines += [f"    {_word(word)}" for word in command]
    return "\n".join([*lines, ")", "", BODY])


def _word(word: str) -> str:
    return f'"{word}"' if word.startswith("$") and word[1:].isidentifier() else shlex.quote(word)
