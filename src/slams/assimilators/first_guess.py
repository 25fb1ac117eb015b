"""First guesses better than the background, and methods started from one of them.

A score model conditioned on the background is also a learned forecast, so that it starts from a
better state than methods that start from the background itself. A *first guess* x_f = g(x_b) gives
these methods the same advantage: the method is unchanged, with x_f instead of x_b in every case
and in the archive from which it estimates its covariances,

    archive errors    x - x_f of past days          instead of    x - x_b
    variance          mean (x - x_f)^2              instead of    that of the background.

The errors of a fit on the archive itself are too small, so that covariances from them would give
it too much weight. `FirstGuess.hindcast` therefore returns forecasts of the archive's days whose
errors are as large as on days that were not used in the fit; each first guess documents how.

Covariances of x - x_f contain only what x_f could not predict. Nothing else is tuned again.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from slams.assimilators.base import Archive, Assimilator
from slams.assimilators.case_by_case import background_of
from slams.assimilators.materials import Materials
from slams.fields import Background, Batch, Ensemble
from slams.linalg.partners import Partners
from slams.methods.specifications import CLIMATOLOGY_GUESS as SPEC

__all__ = ["ClimatologyGuess", "FirstGuess", "OnFirstGuess", "build_climatology"]

# Windows of the archive processed at a time; limits the temporaries, not the result.
_WINDOWS = 32


class FirstGuess(ABC):
    """Base class of first guesses: estimates of the truth from the background.

    Attributes:
        name: The part after the `@` in the names of methods.
        kind: New value of `Background.kind`; `None` leaves it unchanged.
        archive: The archive with first guesses instead of backgrounds, after `fit`.
        variance: `(T, C, H, W)` normalised, the mean square of their errors, after `fit`.
    """

    name: str
    kind: str | None = None
    _source: Archive | None = None

    def fit(self, archive: Archive) -> None:
        """Fit to an archive, once even if several methods start from this first guess.

        Raises:
            UserError: The archive is not sufficient, see the first guesses.
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
            `(N, T, C, H, W)` normalised, with errors as large as on days outside the archive.
        """

    @abstractmethod
    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the first guess of some windows, after `fit`.

        Args:
            background: `(B, T, C, H, W)` normalised.
            time: `(B, T)` days since 1970-01-01 00 UTC.
            known: `(B, T, C, H, W)` bool, False where the background is not known; `None` if all
                of it is.

        Returns:
            `(B, T, C, H, W)` normalised.
        """


class ClimatologyGuess(FirstGuess):
    """The climatology as first guess, to compare methods without information on the background."""

    name = SPEC.name
    kind = "climatology"

    def hindcast(self, archive: Archive) -> Tensor:
        """Return zero anomalies, as one number seen everywhere."""
        return torch.zeros(()).expand(archive.background.shape)

    def forecast(self, background: Tensor, time: Tensor, known: Tensor | None = None) -> Tensor:
        """Return zero anomalies."""
        return torch.zeros_like(background)


class OnFirstGuess:
    """A method started from a first guess.

    Args:
        method: The method, which is unchanged and draws the same random numbers.
        first_guess: The first guess, which several methods may share.
    """

    def __init__(self, method: Assimilator, first_guess: FirstGuess) -> None:
        self.method = method
        self.first_guess = first_guess
        self.name = f"{method.name}@{first_guess.name}"
        self.shares_members = getattr(method, "shares_members", False)
        self.shares_domains = getattr(method, "shares_domains", False)

    def share_domains(self, partners: Partners) -> None:
        """See `CaseByCase.share_domains`."""
        self.method.share_domains(partners)  # type: ignore[attr-defined]

    def fit(self, archive: Archive) -> None:
        """Fit the first guess, then the method to the errors of the first guess."""
        self.first_guess.fit(archive)
        self.method.fit(self.first_guess.archive)

    def analyse(self, batch: Batch, members: int, only: range | None = None) -> Ensemble:
        """Return the analysis ensemble, see `slams.assimilators.base.Assimilator`.

        Args:
            batch: Background and observations.
            members: Number of members `M`.
            only: The members to compute, if the method `shares_members`; `None` for all.

        Raises:
            UserError: The batch has no background, or the method refuses it.
        """
        started = time.perf_counter()
        guess = self._guess(batch, background_of(batch, self.name))
        share = {} if only is None else {"only": only}
        ensemble = self.method.analyse(replace(batch, background=guess), members, **share)
        seconds = time.perf_counter() - started
        return replace(ensemble, method=self.name, seconds=seconds)

    def _guess(self, batch: Batch, background: Background) -> Background:
        # One by one, so that a case does not depend on its batch, not even in rounding.
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
    """Return the mean square error of an archive's backgrounds, where the fields are known."""
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
    """Build the climatological first guess, see `slams.plugins.methods.FirstGuessSpec`."""
    return ClimatologyGuess()
