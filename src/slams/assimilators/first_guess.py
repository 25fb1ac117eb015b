"""First guesses better than the background, and any method started from one of them.

A score model conditioned on the background is also a learned forecast. Methods that start from
the background itself are then compared with one that starts from something better. A *first
guess* x_f = g(x_b) gives them the same advantage: the method is as it was, with x_f in the place
of x_b, in the archive that it estimates its covariances from and in every case,

    archive errors    x - x_f of past days          instead of    x - x_b
    variance          mean (x - x_f)^2              instead of    that of the background.

What was fitted to the archive must not be judged by its errors there, which are too small: the
covariances would trust it too much. `FirstGuess.hindcast` therefore gives forecasts of the
archive's days whose errors are as large as those of days that the fit has not seen; how, each
first guess says.

Covariances of x - x_f contain what x_f could not predict only. Nothing else is tuned anew.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from slams.assimilators.base import Archive, Assimilator
from slams.assimilators.materials import Materials
from slams.errors import UserError
from slams.fields import Background, Batch, Ensemble
from slams.methods.first_guesses.climatology import SPEC

__all__ = ["ClimatologyGuess", "FirstGuess", "OnFirstGuess", "build_climatology"]

# Windows of the archive taken at a time: bounds the temporaries, not the result.
_WINDOWS = 32


class FirstGuess(ABC):
    """Makes a first guess of the truth from the background.

    Attributes:
        name: What stands after the `@` in the names of methods.
        kind: What `Background.kind` becomes; `None` leaves it as it is.
        archive: The archive with first guesses in the place of backgrounds, once fitted.
        variance: `(T, C, H, W)` normalised, the mean square of their errors, once fitted.
    """

    name: str
    kind: str | None = None

    def __init__(self) -> None:
        self._source: Archive | None = None

    def fit(self, archive: Archive) -> None:
        """Fit to an archive, once however many methods start from this first guess.

        Raises:
            UserError: The archive does not suffice, see the first guesses.
        """
        if archive is self._source:
            return
        guesses = self.hindcast(archive)
        self.archive = replace(archive, background=guesses, background_known=None)
        self.variance = _error_variance(self.archive)
        self._source = archive

    @abstractmethod
    def hindcast(self, archive: Archive) -> Tensor:
        """Fit, and return first guesses of the archive's days.

        Args:
            archive: Windows of the training period with their backgrounds, normalised.

        Returns:
            `(N, T, C, H, W)` normalised, with errors as large as on days outside of the archive.
        """

    @abstractmethod
    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Make the first guess of some windows, after `fit`.

        Args:
            background: `(B, T, C, H, W)` normalised.
            time: `(B, T)` days since 1970-01-01 00 UTC.
            known: `(B, T, C, H, W)` bool, False where the background is not known; `None` if all
                of it is.

        Returns:
            `(B, T, C, H, W)` normalised.
        """


class ClimatologyGuess(FirstGuess):
    """Starts from the climatology: what methods reach without knowing the background."""

    name = SPEC.name
    kind = "climatology"

    def hindcast(self, archive: Archive) -> Tensor:
        """Return zero anomalies."""
        return torch.zeros_like(archive.background)

    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Return zero anomalies."""
        return torch.zeros_like(background)


class OnFirstGuess:
    """Starts a method from a first guess.

    Args:
        method: The method; it stays as it is, and draws the same random numbers.
        first_guess: The first guess; several methods may share it.
    """

    def __init__(self, method: Assimilator, first_guess: FirstGuess) -> None:
        self.method = method
        self.first_guess = first_guess
        self.name = f"{method.name}@{first_guess.name}"
        self.shares_members = getattr(method, "shares_members", False)

    def fit(self, archive: Archive) -> None:
        """Fit the first guess, and the method to its errors."""
        self.first_guess.fit(archive)
        self.method.fit(self.first_guess.archive)

    def analyse(self, batch: Batch, members: int, only: range | None = None) -> Ensemble:
        """Return the analysis ensemble, see `slams.assimilators.base.Assimilator`.

        Args:
            batch: Background and observations.
            members: Number of members `M`.
            only: The members to compute, where the method `shares_members`; `None` for all.

        Raises:
            UserError: The batch has no background, or the method refuses it.
        """
        started = time.perf_counter()
        if batch.background is None:
            raise UserError(
                f"{self.name} needs a background and the batch has none; set background.kind"
            )
        guess = self._guess(batch, batch.background)
        share = {} if only is None else {"only": only}
        ensemble = self.method.analyse(replace(batch, background=guess), members, **share)
        seconds = time.perf_counter() - started
        return replace(ensemble, method=self.name, seconds=seconds)

    def _guess(self, batch: Batch, background: Background) -> Background:
        # One by one: a case does not depend, not even in rounding, on the batch it came with.
        means = []
        with torch.no_grad():
            for case in range(len(batch)):
                one = slice(case, case + 1)
                known = None if background.known is None else background.known[one]
                means.append(
                    self.first_guess.forecast(background.mean[one], batch.time[one], known)
                )
        mean = torch.cat(means)
        return Background(
            mean=mean,
            variance=self.first_guess.variance.to(mean).expand_as(mean),
            kind=self.first_guess.kind or background.kind,
        )


def _error_variance(archive: Archive) -> Tensor:
    """Average the squared errors of an archive's backgrounds, where the fields are known."""
    total = torch.zeros(archive.fields.shape[1:], dtype=torch.float64)
    count = torch.zeros_like(total)
    for start in range(0, archive.fields.shape[0], _WINDOWS):
        some = slice(start, start + _WINDOWS)
        square = (archive.fields[some] - archive.background[some]).square().to(total)
        known = torch.ones_like(square) if archive.known is None else archive.known[some].to(total)
        total += (square * known).sum(dim=0)
        count += known.sum(dim=0)
    return (total / count.clamp(min=1)).to(torch.float32)


def build_climatology(materials: Materials) -> ClimatologyGuess:
    """Build the first guess that knows nothing, see `slams.plugins.methods.FirstGuessSpec`."""
    return ClimatologyGuess()
