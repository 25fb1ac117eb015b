r"""The residual of the decoder, sampled given the observations.

Members of a latent method are decoded latents: they lack what the decoder cannot represent. With

    x = dec(z) + r,    r ~ N(b, C) independent of z,    y = H x + e,    e ~ N(0, R),

the posterior is `p(z | y) p(r | y, z)`. The first factor is what a latent method samples: there
the error of the observations is `H C H^T + R`. Given a member `z^m`, `y - H dec(z^m)` observes `r`
with the error `R` alone, so that the residual is not counted twice. Perturbed observations sample
the second factor: with a draw `r_p` of the residual and `e^m` of the observation error,

    x^m = x_p + K (y + e^m - H x_p),    x_p = dec(z^m) + r_p,
    K   = (L_xo o C H^T) (L_oo o H C H^T + R)^-1,

`L` the localisation of Gaspari and Cohn with a half-width of its own, because decoding errors are
related over shorter distances than background errors. Without observations the members are
`dec(z^m) + r_p`, which have the small-scale variance of the fields.

What decoding loses of the background may be given back first (`of_background`, see
`slams.assimilators.background_residual`); `r` is then what is left.

**Archive.** `b` and `C` are mean and covariance of `x - dec(enc(x))` over archive days of the
season; `r_p` is the error of one of these days. The VAE was trained on them and decodes them
better than new days: the errors of each channel are enlarged by the ratio of their size on
validation days to that on archive days of the same season (`slams.assimilators.unseen_errors`).

**Silent observations** (`slams.linalg.censoring`) are replaced by Gaussian ones with the same
effect on the residual, member by member, because their bound is at another distance from each
member.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace

import torch
from torch import Tensor

from slams.assimilators.background_residual import BackgroundResidual, decoding_loss
from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import centre
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.observation_noise import observation_noise
from slams.assimilators.season import draw_days, season_days
from slams.assimilators.unseen_errors import error_scale
from slams.diffusion.settings import ResidualSettings
from slams.fields import Batch
from slams.grid import LatLonGrid
from slams.linalg.partners import ALONE, Partners
from slams.linalg.settings import LocalSettings
from slams.nn.latent_space import LatentSpace
from slams.normalisation import Normaliser
from slams.observations.stacked import (
    StackedObservations,
    observe_perturbations,
    stack_observations,
)

__all__ = ["DecodingResidual"]

# Windows passed through the networks at a time; limits the memory, not the result.
_CHUNK = 32
# Validation days, evenly spaced, on which the size of decoding errors is measured.
_UNSEEN_DAYS = 60


@dataclass(eq=False, repr=False)
class DecodingResidual:
    """Residuals of the decoder for the members of a latent method.

    Args:
        name: Name of the method, for random numbers of its own.
        space: The latent space.
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        seed: The experiment's seed.
        settings: Localisation, season and size of the archive.
        local: How large networks are analysed.
        unseen: Function that returns windows of the validation period, on which the size of
            decoding errors is measured; `None` to use the errors of archive days unscaled.

    Attributes:
        gains: Gains of the observations on the grid of the fields.
        scale: `(C,)` factor on the errors of archive days, after the first case; `None` before,
            or if it is not measured.

    Raises:
        UserError: The half-width of the localisation is out of range, see `gaspari_cohn`.
    """

    name: str
    space: LatentSpace
    normaliser: Normaliser
    grid: LatLonGrid
    seed: int
    settings: ResidualSettings
    _: KW_ONLY
    local: LocalSettings = field(default_factory=LocalSettings)
    unseen: Callable[[], Archive] | None = None
    scale: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.gains = NetworkGains(self.grid, self.settings.localisation, self.local)
        self._archive: Archive | None = None

    def fit(self, archive: Archive) -> None:
        """Store the archive, whose errors are measured at the first case.

        Args:
            archive: Windows of the training period.
        """
        self._archive, self._errors, self.scale = archive, {}, None
        self._days = _evenly(len(archive.fields), self.settings.archive)

    def add(
        self,
        batch: Batch,
        decoded: Tensor,
        members: int,
        only: range | None = None,
        *,
        centred: bool = True,
        spread: float = 1.0,
        lost: BackgroundResidual | None = None,
        partners: Partners = ALONE,
    ) -> Tensor:
        """Add a residual to each member.

        Args:
            batch: One case.
            decoded: `(m, T, C, H, W)` normalised, the decoded members `only` of `M`.
            members: Number `M` of members of the ensemble.
            only: Which members they are; `None` for all.
            centred: Whether the mean over the `M` draws is removed from them.
            spread: Factor on the draws.
            lost: The offset that `decoded` contains; `None` for none.
            partners: Processes that solve the domains together.

        Returns:
            `(m, T, C, H, W)` normalised.
        """
        self.gains.partners = partners
        own = slice(None) if only is None else slice(only.start, only.stop)
        case = int(batch.case[0])
        errors = self._errors_of(batch, lost)
        mean = errors.mean(dim=0)
        errors -= mean
        drawn = draw_days(len(errors), self.seed, f"{self.name}/residual", case, members)

        def of_members(values: Tensor) -> Tensor:
            return spread * (centre(values) if centred else values)[own]

        prior = decoded + mean
        stacked = stack_observations(batch, 0)
        if len(stacked) == 0:
            return prior + of_members(errors[drawn])
        noise = observation_noise(
            stacked, len(mean), self.seed, f"{self.name}/residual", case, members, decoded
        )
        images = torch.cat(
            [
                stacked.select(observe_perturbations(stacked.operators, some * self.normaliser.sd))
                for some in errors.split(_CHUNK)
            ]
        )
        states = self.normaliser.denormalise(prior[None], batch.climatology)[0]
        departures = stacked.values - stacked.apply(states)
        parts, mine = [departures, of_members(images[drawn]), of_members(noise)], slice(None)
        if only is not None:
            # Each of several processes solves some domains, for the members of all of them.
            gathered = [self.gains.gain(stacked).partners.rows(part) for part in parts]
            parts, mine = [every for every, _ in gathered], gathered[0][1]
        increments = self._increments(stacked, errors, images, *parts)[mine]
        return prior + of_members(errors[drawn]) + increments.reshape(prior.shape)

    def _increments(
        self,
        stacked: StackedObservations,
        errors: Tensor,
        images: Tensor,
        departures: Tensor,
        seen: Tensor,
        noise: Tensor,
    ) -> Tensor:
        """Solve for the increments of the members.

        Args:
            stacked: The active observations.
            errors: `(n, T, C, H, W)` normalised, centred.
            images: `(n, P)` their observed values.
            departures: `(J, P)` observed values minus those of each member and the mean residual.
            seen: `(J, P)` observed draws of the residual.
            noise: `(J, P)` perturbations in standard deviations of the observation error.

        Returns:
            `(J, T * C, H * W)` normalised.
        """
        gain = self.gains.gain(stacked)
        if not bool(stacked.silent.any()):
            innovations = departures + noise * stacked.variance.sqrt() - seen
            weights = gain.solve(images, stacked.variance, innovations)
        else:
            # Replaced observations of different members have the same places, and so one gain.
            heard = self.gains.gain(replace(stacked, silent=torch.zeros_like(stacked.silent)))
            parts = []
            for member, departure in enumerate(departures):
                gaussian, found = self.gains.gaussian(stacked, images, departure, gain)
                innovation = found + noise[member] * gaussian.variance.sqrt() - seen[member]
                parts.append(heard.solve(images, gaussian.variance, innovation[None]))
            gain, weights = heard, torch.cat(parts, dim=-1)
        return gain.increments(errors.flatten(1, 2).flatten(2), images, weights)

    def _errors_of(self, batch: Batch, lost: BackgroundResidual | None) -> Tensor:
        """Return the errors of the archive days of the case's season, `(n, T, C, H, W)`."""
        archive, device = self._archive, batch.climatology.device
        offset = lost is not None
        if offset not in self._errors:
            self._errors = {offset: self._measure(archive, self._days, device, lost)}
            if self.unseen is not None:
                self.scale = self._unseen_scale(self.unseen(), device, lost)
        season = season_days(
            archive.time[self._days, 0], float(batch.time[0, 0]), self.settings.season
        )
        errors = self._errors[offset][season].to(device, torch.float32)
        return errors if self.scale is None else errors * self.scale.to(device)[:, None, None]

    def _measure(
        self, archive: Archive, days: Tensor, device: torch.device, lost: BackgroundResidual | None
    ) -> Tensor:
        """Measure the decoding errors of some days; missing values have none.

        Returns:
            `(n, T, C, H, W)` normalised, float16 on the CPU: 11 bits are enough for covariances.
        """
        parts = []
        for at in days.split(_CHUNK):
            fields = archive.fields[at].to(device)
            known = None if archive.known is None else archive.known[at].to(device)
            error = decoding_loss(self.space, fields, known)
            if lost is not None:
                error = error - lost.of_days(archive, at)
            parts.append(error.to("cpu", torch.float16))
        return torch.cat(parts)

    def _unseen_scale(
        self, unseen: Archive, device: torch.device, lost: BackgroundResidual | None
    ) -> Tensor:
        """Return the ratio of errors on validation days to those on archive days, `(C,)`."""
        days = _evenly(len(unseen.fields), _UNSEEN_DAYS)
        both = (self._errors[lost is not None], self._measure(unseen, days, device, lost))
        sizes = [self._mean_square(errors) for errors in both]
        times = self._archive.time[self._days, 0], unseen.time[days, 0]
        return error_scale(sizes[0], times[0], sizes[1], times[1]).to(torch.float32)

    def _mean_square(self, errors: Tensor) -> Tensor:
        """Average the squared errors of each day over its window and the globe, `(n, C)`."""
        weights = self.grid.weights.to("cpu", torch.float64)[:, None]
        squares = (some.to(torch.float64).square() * weights for some in errors.split(_CHUNK))
        return torch.cat([square.mean(dim=(1, 3, 4)) for square in squares])


def _evenly(total: int, count: int) -> Tensor:
    """Return evenly spaced indices, `(min(total, count),)` int64."""
    return torch.linspace(0, total - 1, min(count, total)).round().long().unique()
