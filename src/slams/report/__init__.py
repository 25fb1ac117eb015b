"""Figures and the self-contained HTML report of a finished assimilation.

`write_report` reads run directories and writes `report/index.html`, `report/figures/*.png` and
`report/summary.png`. It computes nothing that an evaluation should compute, except paired
comparisons of methods and of settings on the same dates. `draw_profile` and `draw_section` draw an
analysis of one's own.
"""

from __future__ import annotations

from slams.report.build import write_report
from slams.report.vertical import draw_profile, draw_section

__all__ = ["draw_profile", "draw_section", "write_report"]
