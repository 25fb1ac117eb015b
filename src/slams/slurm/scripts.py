"""Text of SLURM batch scripts: written by `slams submit`, and stored in `experiments/slurm/`.

Every script is a header of `#SBATCH` lines, the command as a bash array, and one body that all
scripts share. Values are quoted for the shell, so that the text of a recipe or an override reaches
the program unchanged.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from slams.errors import UserError

__all__ = ["BODY", "GENERIC", "Resources", "generic_script", "job_script", "signal_lead"]

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

# Scripts of `experiments/slurm/`: file -> verb, and the options of the example command.
GENERIC = {
    "prepare": ("prepare", "--nodes=1 --ntasks=1"),
    "train-vae": ("train vae", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "train-score": ("train score", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "assimilate": ("assimilate", "--nodes=2 --ntasks-per-node=4 --gpus-per-node=4"),
    "ablate": ("ablate", "--array=0-11%4 --nodes=1 --ntasks-per-node=1 --gpus-per-node=1"),
}

# Longest and shortest time (s) between SLURM's signal and the end of a job.
_LONGEST_LEAD, _SHORTEST_LEAD = 600, 30


@dataclass(frozen=True)
class Resources:
    """Resources that a job requests from SLURM.

    Attributes:
        nodes: Number of nodes.
        tasks: Ranks per node.
        gpus: GPUs per node, one per rank; 0 for the CPU.
        cpus: CPUs per rank.
        seconds: Time limit (s); 0 for the partition's own.
        time: The time limit in SLURM's format.
        partition: Partition; "" for the default one.
        account: Account; "" for the user's own.
        extra: More options of sbatch, for example `--qos=long`.
    """

    nodes: int = 1
    tasks: int = 1
    gpus: int = 0
    cpus: int = 1
    seconds: int = 0
    time: str = ""
    partition: str = ""
    account: str = ""
    extra: Sequence[str] = field(default_factory=tuple)

    def directives(self) -> list[str]:
        """Return the options of sbatch."""
        lines = [f"--nodes={self.nodes}", f"--ntasks-per-node={self.tasks}"]
        if self.gpus:
            lines.append(f"--gpus-per-node={self.gpus}")
        lines.append(f"--cpus-per-task={self.cpus}")
        named = {"time": self.time, "partition": self.partition, "account": self.account}
        lines += [f"--{name}={shlex.quote(value)}" for name, value in named.items() if value]
        lines.append(f"--signal=USR1@{signal_lead(self.seconds)}")
        return [*lines, *self.extra]


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
    resources: Resources,
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
        resources: Resources that it requests.
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
        *resources.directives(),
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


def generic_script(name: str) -> str:
    """Return a script that takes recipe and overrides as arguments, for use without `submit`.

    Args:
        name: One of `GENERIC`.
    """
    verb, resources = GENERIC[name]
    words = ["slams", *verb.split(), '"$@"']
    if name == "ablate":
        words += ["--setting", '"$SLURM_ARRAY_TASK_ID"']
    if name != "prepare":
        words += ['trainer.num_nodes="$SLURM_JOB_NUM_NODES"']
        words += ['trainer.devices="${SLURM_NTASKS_PER_NODE:-1}"']
    return "\n".join(
        [
            "#!/usr/bin/env bash",
            f"#SBATCH --job-name=slams-{name}",
            f"#SBATCH --signal=USR1@{signal_lead(0)}",
            f"#SBATCH --output={name}-{'%A_%a' if name == 'ablate' else '%j'}.log",
            "#SBATCH --open-mode=append",
            "#SBATCH --requeue",
            "",
            "# Without `slams submit`; recipe and overrides follow the name of the script:",
            f"#   sbatch {resources} --time=12:00:00 \\",
            f"#       experiments/slurm/{name}.sbatch RECIPE.yaml [key=value ...]",
            "# The program is given nodes and ranks; the environment is that of the caller.",
            f"command=({' '.join(words)})",
            "",
            BODY,
        ]
    )


def _word(word: str) -> str:
    return f'"{word}"' if word.startswith("$") and word[1:].isidentifier() else shlex.quote(word)
