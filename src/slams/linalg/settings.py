"""Settings of the local analysis.

They are also a section of a recipe (`assimilation.local`): the comment above a field is its help
text. This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from slams.plugins.keys import POSITIVE, at_least, key

__all__ = ["LocalSettings"]


@dataclass
class LocalSettings:
    """Settings of the local analysis: large networks are analysed domain by domain."""

    # Observations of a case above which it is analysed in overlapping domains instead of at once;
    # at once, time grows as the cube of their number, and 12,000 are the most.
    above: int = key(3000, at_least(0))
    # Most observations that a domain uses: the nearest of each kind in turn.
    observations: int = key(300, at_least(10))
    # Distance (km) between the centres of neighbouring domains.
    spacing: float = key(2000.0, POSITIVE)
    space: str = "observation"
