"""A headless Chromium that shows one page: its text once scripts have run, and a picture."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["Browser", "find_browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# No network but the page's own: background services of the browser would wait for theirs.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SECONDS = 180


class Browser:
    """Opens pages, each in a process of its own.

    Args:
        program: Path of the browser.
        directory: Where its profile goes.
    """

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._profile = directory / "profile"

    def text(self, url: str, milliseconds: int = 15_000) -> str:
        """Return the document of a page after its scripts have had some time.

        Args:
            url: The page.
            milliseconds: Time that the page's own clock is given.
        """
        return self._run(url, milliseconds, "--dump-dom")

    def picture(self, url: str, path: Path, milliseconds: int = 15_000) -> None:
        """Write a picture of a page (PNG)."""
        self._run(url, milliseconds, f"--screenshot={path}", "--window-size=1400,900")

    def _run(self, url: str, milliseconds: int, *words: str) -> str:
        command = [self._program, *_FLAGS, f"--user-data-dir={self._profile}"]
        command += [f"--virtual-time-budget={milliseconds}", *words, url]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
        return done.stdout


def find_browser(directory: Path) -> Browser:
    """Find a Chromium, or skips the test."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is installed (make test-e2e)")
    return Browser(program, directory)
