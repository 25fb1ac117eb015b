"""The command line in a process of its own that notes which windows each training step sees.

    python logged_command.py LOG VERB... RECIPE KEY=VALUE...

A line a step: its number, then the positions of its windows in the training store.
"""

from __future__ import annotations

import os
import sys

from slams.cli import main
from slams.modules.vae import VAE

_LOG = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
_step = VAE.training_step


def _noted(self: VAE, batch: object, batch_idx: int) -> object:
    words = [self.trainer.global_step, *batch.case.tolist()]
    os.write(_LOG, (" ".join(map(str, words)) + "\n").encode())
    return _step(self, batch, batch_idx)


VAE.training_step = _noted
if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
