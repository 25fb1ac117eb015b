"""Lines of code are counted as a reader would."""

from __future__ import annotations

from tests.code_lines import code_lines

_MODULE = '''"""A module.

Two lines of its docstring.
"""

# A comment.
import os  # counts

TEXT = """A text
of two lines"""


def f(
    a,
):
    """Do nothing."""
    return a
'''


def test_blank_lines_comments_and_docstrings_do_not_count() -> None:
    assert code_lines(_MODULE) == 1 + 2 + 3 + 1
    assert code_lines("") == 0
