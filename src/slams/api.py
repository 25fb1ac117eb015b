"""The Python interface: functions that `import slams` offers besides its subpackages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from slams.stages.model import Model

__all__ = ["load"]


def load(
    path: str | Path, plugins: Sequence[str] = (), device: str | torch.device | None = None
) -> Model:
    """Load a trained model, ready to analyse.

    Args:
        path: Bundle that `slams export` wrote, or directory of a finished run, for example
            `runs/demo/assimilation`. Beside a bundle or an assimilation nothing is read; a score
            model needs the VAE's run next to it, and its training store.
        plugins: `module:Class` of each plug-in that the recipe may import. The recipe of a bundle
            or a run is treated as data: a plug-in that it names is refused unless it is also
            named here.
        device: Device of the computation; by default a GPU where there is one.

    Returns:
        The model: `model.inputs` is what it takes, `model.analyse(...)` analyses a day,
        `model.cycle(...)` consecutive days.

    Raises:
        UserError: There is no model, it is of another version, one of its files is missing or has
            changed, or its recipe names a plug-in that is not allowed.
    """
    from slams.plugins.admission import admit_plugins
    from slams.stages.bundle import load_bundle
    from slams.stages.model import Model

    admit_plugins(plugins, "plugins")
    return Model(load_bundle(path), device)
