"""Check that all ranks of a run start from the same checkpoint."""

from __future__ import annotations

import socket
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import distributed as dist

from slams.errors import UserError
from slams.runtime.ranks import say

__all__ = ["RankConsistencyCheck"]


class RankConsistencyCheck(Callback):
    """Callback that reports ranks and hosts, and refuses ranks that find different checkpoints.

    On a cluster a file may become visible late on some hosts, or the file system may not be shared
    at all: a rank that starts from scratch while others resume would train a different network
    or hang.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare the ranks, which are connected at this point but have not loaded anything.

        Raises:
            UserError: A rank would resume from a different checkpoint than rank zero.
        """
        if trainer.world_size == 1:
            return
        path = trainer.ckpt_path
        found = None if path is None or not Path(path).exists() else Path(path).stat().st_size
        mine = (socket.gethostname(), None if path is None else str(path), found)
        ranks: list[tuple[str, str | None, int | None]] = [mine] * trainer.world_size
        dist.all_gather_object(ranks, mine)
        for number, one in enumerate(ranks):
            if one[1:] != ranks[0][1:]:
                raise UserError(
                    f"rank {number} on {one[0]} would resume from {one[1]} ({one[2]} bytes), rank "
                    f"0 on {ranks[0][0]} from {ranks[0][1]} ({ranks[0][2]} bytes); the key 'runs' "
                    f"must name a directory that all nodes share"
                )
        hosts = list(dict.fromkeys(host for host, *_ in ranks))
        where = f"{len(hosts)} hosts ({', '.join(hosts)})"
        say(f"{TrainerFn(stage).value}: world size {len(ranks)} on {where}")
