"""The training curves as a table, `metrics.csv`, with one row per logged step; safe to resume."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from slams.runtime.atomic import replacing

__all__ = ["MetricsCSV"]


class MetricsCSV(Callback):
    """Callback that writes `step`, `epoch`, `learning_rate` and every logged `split/metric`.

    A training metric is the mean over the steps since the previous row; a row is written every
    `every_steps` steps and at the end of each epoch. A checkpoint between two rows contains the
    metrics for the next row, so that a resumed run writes the same rows as without the
    interruption. Validation metrics are in the row of the epoch's last step. `step` is the number
    of optimiser steps taken; no step appears twice: when a run resumes, rows after the step of the
    checkpoint are removed.

    Args:
        path: The file; its directory must exist.
        every_steps: Steps between two rows.
    """

    def __init__(self, path: str | Path, every_steps: int = 10) -> None:
        self.path = Path(path)
        self.every_steps = every_steps
        self._columns = ["step", "epoch", "learning_rate"]
        self._seen: list[dict[str, Tensor]] = []
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the rows after the step from which the run resumes."""
        if trainer.ckpt_path is None:
            self._seen, self._step = [], trainer.global_step
        if trainer.is_global_zero:
            columns, rows = self._read()
            self._columns += [c for c in columns if c not in self._columns]
            self._rewrite([r for r in rows if int(r["step"]) <= trainer.global_step])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Collect the metrics of the step and write a row when it is due."""
        if not trainer.is_global_zero:
            return
        self._seen.append(
            {k: v.detach() for k, v in _named(trainer, "train/").items() if v.numel() == 1}
        )
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        full = trainer.global_step % self.every_steps == 0 and trainer.global_step > self._step
        if full and not last:
            self._write(trainer, {})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's last row, with its validation."""
        if not trainer.is_global_zero or trainer.global_step == self._step:
            return
        every = trainer.check_val_every_n_epoch or 1
        validated = trainer.enable_validation and (trainer.current_epoch + 1) % every == 0
        self._write(trainer, _named(trainer, "validation/") if validated else {})

    def state_dict(self) -> dict[str, Any]:
        """Return the step of the last row, and the metrics logged since."""
        seen = [{k: float(v) for k, v in row.items()} for row in self._seen]
        return {"step": self._step, "seen": seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the metrics of an incomplete row."""
        self._step = int(state_dict["step"])
        self._seen = [
            {k: torch.tensor(v, dtype=torch.float64) for k, v in row.items()}
            for row in state_dict["seen"]
        ]

    def _write(self, trainer: Trainer, validation: dict[str, Tensor]) -> None:
        row: dict[str, float | int] = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
        }
        if trainer.optimizers:
            row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        for name in dict.fromkeys(k for seen in self._seen for k in seen):
            values = torch.stack([s[name].double().cpu() for s in self._seen if name in s])
            row[name] = float(values.mean())
        row.update({k: float(v) for k, v in validation.items()})
        self._seen, self._step = [], trainer.global_step

        new = [name for name in row if name not in self._columns]
        if new or not self.path.exists():
            _, rows = self._read()
            self._columns += new
            self._rewrite([*rows, row])
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, restval="").writerow(row)

    def _read(self) -> tuple[list[str], list[dict[str, Any]]]:
        if not self.path.exists():
            return [], []
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            # A run that was killed while writing leaves a row without its last columns.
            rows = [r for r in reader if None not in r.values() and r["step"].isdigit()]
            return list(reader.fieldnames or ()), rows

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        with replacing(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows(rows)


def _named(trainer: Trainer, prefix: str) -> dict[str, Tensor]:
    """Return the logged metrics of a split without the `_step` and `_epoch` duplicates."""
    return {
        k: v
        for k, v in trainer.callback_metrics.items()
        if k.startswith(prefix) and not k.endswith(("_step", "_epoch"))
    }
