"""Count the lines of code: no blank lines, comments or docstrings.

    python -m tests.code_lines [DIRECTORY ...]      # src/slams and data_modules by default

Prints the number for each room and in all.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(text: str) -> int:
    """Return the number of lines of a module that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if constant and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def count(directory: Path) -> Counter[str]:
    """Return the lines of each room of a directory; modules at its root count under `.`."""
    found: Counter[str] = Counter()
    for path in sorted(directory.rglob("*.py")):
        inner = path.relative_to(directory).parts
        found[inner[0] if len(inner) > 1 else "."] += code_lines(path.read_text())
    return found


def main() -> None:
    """Print the table."""
    names = sys.argv[1:] or ["src/slams", "data_modules"]
    total = 0
    for name in names:
        rooms = count(_ROOT / name)
        for room, number in rooms.most_common():
            print(f"{name}/{room:20} {number:6}")
        total += rooms.total()
    print(f"{'all':{len(names[0]) + 21}} {total:6}")


if __name__ == "__main__":
    main()
