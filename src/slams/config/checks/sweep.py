"""Check how many settings a sweep has, by counting and without expanding it."""

from __future__ import annotations

import math

from slams.config.schema import AblationConfig
from slams.errors import UserError

__all__ = ["check_sweep_size"]

# The largest job array that SLURM accepts by default (MaxArraySize 1001, counted from 0).
_MOST_SETTINGS = 1000


def check_sweep_size(ablation: AblationConfig) -> None:
    """Refuse a sweep of more settings than can be listed, submitted and compared.

    Args:
        ablation: The section; what is no list is refused where the sweep is expanded.

    Raises:
        UserError: There are too many.
    """
    lengths = [len(values) for values in ablation.grid.values() if isinstance(values, list)]
    together = [len(values) for values in ablation.zip.values() if isinstance(values, list)]
    # An empty list is refused by name later; here it must not hide the others.
    count = math.prod(max(n, 1) for n in lengths)
    count *= max(together, default=1) or 1
    count *= len(ablation.list) or 1
    if count > _MOST_SETTINGS:
        parts = " x ".join(map(str, lengths)) or "1"
        raise UserError(
            f"key 'ablation': found {count} settings (grid {parts}, zip "
            f"{max(together, default=0)}, list {len(ablation.list)}), expected at most "
            f"{_MOST_SETTINGS}; vary fewer keys or fewer values"
        )
