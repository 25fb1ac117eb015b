"""Settings of the local analysis.

They are also a section of a recipe (`assimilation.local`): the comment above a field is its help
text. This module imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

from slams.plugins.keys import POSITIVE, at_least, key, one_of

__all__ = ["LocalSettings"]


@dataclass
class LocalSettings:
    """Settings of the local analysis: large networks are analysed domain by domain."""

    # Observations of a case above which it is analysed in overlapping domains instead of at once;
    # at once, time grows as the cube of their number, and 12,000 are the most.
    above: int = key(3000, at_least(0))
    # Most observations that a domain uses: the nearest of each kind in turn.
    observations: int = key(250, at_least(10))
    # Distance (km) between the centres of neighbouring domains.
    spacing: float = key(2000.0, POSITIVE)
    # Space in which a domain is solved: of its `observation`s, or of the `archive`'s days, whose
    # cost does not depend on the observations. They are different estimators.
    space: str = key("observation", one_of("observation", "archive"))
