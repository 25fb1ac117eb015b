"""SLAMS: score-based latent data assimilation in a multimodal setting.

Importing this package is cheap: torch, Lightning and MLflow are imported where they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slams.assimilators.base import Assimilator

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


def load(run_dir: str | Path) -> Assimilator:
    """Loads a finished run as an assimilator that is ready to analyse.

    Args:
        run_dir: Run directory, for example `runs/demo/assimilation` or `runs/demo/score`.

    Returns:
        An assimilator: `analyse(batch, members)` gives an `Ensemble` in physical units.

    Raises:
        UserError: The directory is no run of this version, or the run has not finished.
    """
    from slams import stages

    return stages.load(run_dir)
