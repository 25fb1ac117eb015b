"""Lets `python -m slams` do what the command `slams` does."""

from __future__ import annotations

import sys

from slams.cli import main

if __name__ == "__main__":
    sys.exit(main())
