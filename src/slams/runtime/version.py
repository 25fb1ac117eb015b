"""The version of this package as installed."""

from __future__ import annotations

__all__ = ["package_version"]


def package_version() -> str:
    """Return the version that pyproject.toml states.

    Returns:
        The version of the installed distribution; `0+unknown` where the source is imported
        without being installed.
    """
    from importlib import metadata  # a few milliseconds, which most commands need not spend

    try:
        return metadata.version("slams")
    except metadata.PackageNotFoundError:
        return "0+unknown"
