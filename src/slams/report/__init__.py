"""Figures and the self-contained HTML report of a finished assimilation.

`write_report` reads run directories and writes `report/index.html`, `report/figures/*.png` and
`report/summary.png`. Nothing is computed here that an evaluation should have computed, apart
from paired comparisons of methods and of settings on the same dates.
"""

from __future__ import annotations

from slams.report.build import write_report

__all__ = ["write_report"]
