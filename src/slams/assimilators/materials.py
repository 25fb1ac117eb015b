"""What methods are built from: the same for every method of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from slams.assimilators.base import Archive
from slams.diffusion.backend import Denoiser
from slams.diffusion.settings import GuidanceSettings, SamplerSettings
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.nn.latent_space import IdentitySpace, LatentSpace
from slams.normalisation import Normaliser

__all__ = ["Materials", "TrainedNetworks"]


class TrainedNetworks(Protocol):
    """Loads the trained networks of a recipe."""

    def autoencoder(self) -> LatentSpace:
        """Return the VAE's latent space, its latents as they are (mean 0, standard deviation 1).

        Raises:
            UserError: It was not trained, or for other data.
        """
        ...

    def latent_score(self) -> tuple[LatentSpace, Denoiser]:
        """Return the standardised latent space and the denoiser of latent windows.

        Raises:
            UserError: One of them was not trained, or for other data.
        """
        ...

    def pixel_score(self) -> tuple[IdentitySpace, Denoiser]:
        """Return the space of standardised fields and the denoiser of their windows.

        Raises:
            UserError: It was not trained, or for other data.
        """
        ...


@dataclass(frozen=True)
class Materials:
    """Holds what a method or a first guess may be built from.

    Attributes:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid of the fields.
        channels: The `C` channels of the fields.
        seed: The experiment's seed.
        guidance: How observations enter a reverse diffusion.
        sampler: How the reverse diffusion is integrated.
        networks: The trained networks.
        archive: Reads the windows of a split with backgrounds as good as those of the recipe.
        settings: Settings of each method by the name of its section, as a recipe has them.
        unseen: Reads the windows of the validation period, which no network was trained on;
            `None` where there is none.
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
    unseen: Callable[[], Archive] | None = None

    def settings_of(self, section: str) -> dict[str, Any]:
        """Return the settings of one method, as keyword arguments; empty where it has none."""
        return dict(self.settings.get(section, {}))
