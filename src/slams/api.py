"""The Python interface: functions that `import slams` offers besides its subpackages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slams.assimilators.base import Assimilator

__all__ = ["load"]


def load(run_dir: str | Path, plugins: Sequence[str] = ()) -> Assimilator:
    """Load a finished run as an assimilator that is ready for use.

    Args:
        run_dir: Run directory, for example `runs/demo/assimilation` or `runs/demo/score`.
        plugins: `module:Class` of each plug-in that the run's recipe may import. The recipe in a
            run directory is treated as data: a plug-in that it names is refused unless it is
            also named here.

    Returns:
        An assimilator; `analyse(batch, members)` returns an `Ensemble` in physical units.

    Raises:
        UserError: The directory is not a run of this version, the run has not finished, or its
            recipe names a plug-in that is not allowed.
    """
    from slams.plugins.admission import admit_plugins
    from slams.stages.methods import load as load_run

    admit_plugins(plugins, "plugins")
    return load_run(run_dir)
