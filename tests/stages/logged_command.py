"""The command line in a process of its own that notes which windows each training step sees.

    python logged_command.py LOG VERB... RECIPE KEY=VALUE...

A line a step: its number, then the positions of its windows in the training store.
"""

from __future__ import annotations

import os
import sys

from slams.cli.main import main
from slams.modules.vae import VAE


def note_windows(path: str) -> None:
    """Write the windows of every step of the VAE's training to a file."""
    log = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    step = VAE.training_step

    def noted(self: VAE, batch: object, batch_idx: int) -> object:
        words = [self.trainer.global_step, *batch.case.tolist()]
        os.write(log, (" ".join(map(str, words)) + "\n").encode())
        return step(self, batch, batch_idx)

    VAE.training_step = noted


if __name__ == "__main__":
    note_windows(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
