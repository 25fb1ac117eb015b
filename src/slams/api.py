"""The Python interface: what `import slams` offers besides its rooms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slams.assimilators.base import Assimilator

__all__ = ["load"]


def load(run_dir: str | Path) -> Assimilator:
    """Load a finished run as an assimilator that is ready to analyse.

    Args:
        run_dir: Run directory, for example `runs/demo/assimilation` or `runs/demo/score`.

    Returns:
        An assimilator: `analyse(batch, members)` gives an `Ensemble` in physical units.

    Raises:
        UserError: The directory is no run of this version, or the run has not finished.
    """
    from slams.stages import load as load_run

    return load_run(run_dir)
