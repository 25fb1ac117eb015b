"""SLAMS: score-based latent data assimilation in a multimodal setting.

Importing this package is cheap: torch, Lightning and MLflow are imported where they are used.
The public names are resolved on first use, so that the program's entry point, which lies in this
package, can handle interrupts a few milliseconds after Python has started.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of `typing`, which takes longer to import than everything else here
if TYPE_CHECKING:
    from slams.api import load

    __version__: str

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    """Return a public name of the package, imported on first use."""
    if name == "load":
        from slams.api import load

        return load
    if name == "__version__":
        from slams.runtime.version import package_version

        return package_version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
