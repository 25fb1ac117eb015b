"""How the program exits: the last message, the exit code, and a requeue after a stop by SLURM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import time

from slams.runtime import slurm_job
from slams.runtime.ranks import is_rank_zero
from slams.runtime.signals import LOST, Stopped

__all__ = ["INTERRUPTED", "exit_lost", "print_error", "stop", "stop_and_requeue"]

INTERRUPTED = 128 + signal.SIGINT
# Seconds that the last message takes through srun to the log of a job.
_WORDS_SECONDS = 0.5
# Seconds that rank zero has to close its run before another rank exits with an error, which kills
# rank zero (`srun --kill-on-bad-exit`).
_OTHERS_SECONDS = 15.0
# Characters of the longest sentence that is printed whole: it may quote a file or an argument.
_LONGEST_SENTENCE = 2000
# Where the same command continues after an interrupt, by the first word of the verb.
_CONTINUES = {
    "train": "last checkpoint",
    "prepare": "files that are finished",
    "limit": "last day that is finished",
    "simulate": "last piece that is finished",
}
_STARTS_OVER = "unfinished work is discarded, the same command does it again"


def stop_and_requeue(
    stopped: Stopped, arguments: argparse.Namespace | None, *, process: bool
) -> int:
    """Print what stopped the program, and requeue the job where SLURM stopped it."""
    what = "terminated" if stopped.signum == signal.SIGTERM else f"stopped by {stopped.reason}"
    if not is_rank_zero():
        if stopped.saved:  # as agreed with rank zero, which requeues
            return stop(what, 0, arguments, process=process)
        # Rank zero may still be working if only this rank received the signal.
        time.sleep(_OTHERS_SECONDS)
        print_error(what, every_rank=True)
    if stopped.signum and slurm_job.job_id():
        # Before the requeue, which ends this process and the one that forwards its output to the
        # log.
        print_error(f"{what}, {'with a checkpoint' if stopped.saved else 'nothing to save'}")
        time.sleep(_WORDS_SECONDS)
        what = slurm_job.requeue(stopped.saved)
    return stop(what, int(str(stopped.code)), arguments, process=process)


def exit_lost(sentence: str, arguments: argparse.Namespace | None, *, process: bool) -> int:
    """Exit after another rank was lost; give the first rank time to close its run."""
    if not is_rank_zero():
        print_error(sentence, every_rank=True)
        time.sleep(_OTHERS_SECONDS)
    return stop(sentence, LOST, arguments, process=process)


def stop(what: str, code: int, arguments: argparse.Namespace | None, *, process: bool) -> int:
    """Print what the same command does after an interrupt, and exit at once.

    Runs are closed by now. Python would wait without end for a thread that was interrupted while
    it started, and zarr prints at length which operations were in progress.
    """
    if process:  # users often press Ctrl-C twice
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    then = ""
    if arguments is not None:
        then = _CONTINUES.get(arguments.verb.partition(" ")[0], "")
        then = f"the same command continues from the {then}" if then else _STARTS_OVER
        then = f"; {then}"
    print_error(f"{what}{then}")
    if process:
        sys.stdout.flush()
        os._exit(code)
    return code


def print_error(sentence: str, every_rank: bool = False) -> None:
    """Print one sentence on standard error, on the first rank alone or on every rank."""
    # zarr prints at length which operations were in progress while Python exits.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sentence = _readable(sentence)
    if is_rank_zero():
        print(f"slams: {sentence}", file=sys.stderr, flush=True)
    elif every_rank:
        where = f"another rank on {socket.gethostname()}"
        print(f"slams: {where}: {sentence}", file=sys.stderr, flush=True)


def _readable(sentence: str) -> str:
    """Cut a sentence that quotes too much, and escape characters that control the terminal."""
    if len(sentence) > _LONGEST_SENTENCE:
        half = _LONGEST_SENTENCE // 2
        sentence = f"{sentence[:half]} ... {sentence[-half:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
