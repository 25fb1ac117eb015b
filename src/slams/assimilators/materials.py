"""Inputs from which methods are built, the same for every method of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from slams.assimilators.base import Archive
from slams.diffusion.backend import Denoiser
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.linalg.settings import LocalSettings
from slams.nn.latent_space import IdentitySpace, LatentSpace
from slams.normalisation import Normaliser
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors

if TYPE_CHECKING:
    from slams.assimilators.member_forecast import MemberForecast

__all__ = ["KeptDay", "Materials", "TrainedNetworks"]


class TrainedNetworks(Protocol):
    """Access to the trained networks of a recipe."""

    def autoencoder(self) -> LatentSpace:
        """Return the VAE's latent space with latents left as they are (mean 0, deviation 1).

        Raises:
            UserError: The network was not trained, or was trained for other data.
        """
        ...

    def latent_score(self) -> tuple[LatentSpace, Denoiser]:
        """Return the standardised latent space and the denoiser of latent windows.

        Raises:
            UserError: One of the networks was not trained, or was trained for other data.
        """
        ...

    def pixel_score(self) -> tuple[IdentitySpace, Denoiser]:
        """Return the space of standardised fields and the denoiser of windows of them.

        Raises:
            UserError: The network was not trained, or was trained for other data.
        """
        ...


def _no_forecast() -> MemberForecast:
    raise UserError("no training period to fit a forecast of members to")


@dataclass(frozen=True)
class KeptDay:
    """The analysis of a day that was made before.

    Attributes:
        members: `(K, C, H, W)` physical.
        channels: Names of the `C` channels.
        grid: Fingerprint of the grid.
        seed: Seed of the experiment whose observations were assimilated.
    """

    members: Tensor
    channels: list[str]
    grid: str
    seed: int


def _no_kept_day(day: date) -> KeptDay:
    raise UserError(f"there are no analyses that were made before, of {day} or any other day")


@dataclass(frozen=True)
class Materials:
    """Inputs from which a method or a first guess is built.

    Attributes:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        channels: The `C` channels of the fields.
        seed: The experiment's seed.
        guidance: How observations enter a reverse diffusion.
        sampler: How the reverse diffusion is integrated.
        networks: The trained networks.
        archive: Function that reads the windows of a split, with backgrounds as accurate as those
            of the recipe.
        settings: Settings of each method by the name of its section, as in the recipe.
        local: How large networks are analysed.
        unseen: Function that reads the windows of the validation period, on which no network was
            trained; `None` if there is none.
        kept: Where denoising errors are kept; by default in memory.
        kept_day: Function that reads an analysis that `slams limit` has made.
        forecast: Function that returns the forecast of members of cycled filters, fitted once.
    """

    normaliser: Normaliser
    grid: LatLonGrid
    channels: tuple[FieldSpec, ...]
    seed: int
    guidance: GuidanceSettings
    sampler: SamplerSettings
    networks: TrainedNetworks
    archive: Callable[[str], Archive]
    settings: Mapping[str, Mapping[str, Any]]
    local: LocalSettings = field(default_factory=LocalSettings)
    unseen: Callable[[], Archive] | None = None
    kept: KeptTensors = field(default_factory=MemoryTensors)
    kept_day: Callable[[date], KeptDay] = _no_kept_day
    forecast: Callable[[], MemberForecast] = _no_forecast

    def settings_of(self, section: str) -> dict[str, Any]:
        """Return the settings of one method as keyword arguments, empty if it has none."""
        return dict(self.settings.get(section, {}))
