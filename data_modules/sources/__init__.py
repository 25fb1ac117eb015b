"""Sources of fields by name: the properties needed to check recipes, and their readers.

Each specification here describes one source (`slams.plugins.sources`); `readers` has one module
per source. A reader returns a canonical dataset, whatever the layout of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from slams.calendar.steps import describe_step
from slams.errors import UserError
from slams.plugins.sources import SOURCES, SourceSpec

if TYPE_CHECKING:
    import xarray as xr

    from slams.config.schema import SourceConfig
    from slams.fields import FieldSpec

__all__ = ["open_source"]


@dataclass(frozen=True)
class _Reader:
    """Function `open_NAME` of the module `readers.NAME`, imported at the first call."""

    name: str

    def __call__(
        self,
        config: SourceConfig,
        channels: Sequence[FieldSpec],
        period: tuple[float, float] | None,
        key: str,
        step: float = 1.0,
    ) -> xr.Dataset:
        from data_modules.sources.canonical.reading import Reading

        module = import_module(f"{__name__}.readers.{self.name}")
        read = getattr(module, f"open_{self.name}")
        return read(Reading(config, tuple(channels), key, period, step=step))


ANEMOI = SourceSpec(
    "anemoi",
    _Reader("anemoi"),
    "a dataset of anemoi-datasets (Zarr) or its address",
    any_step=True,
)
ARCO_ERA5 = SourceSpec(
    "arco_era5",
    _Reader("arco_era5"),
    "an ARCO-ERA5 store (Zarr) or its address",
    any_step=True,
)
CF = SourceSpec(
    "cf",
    _Reader("cf"),
    "a NetCDF file or a Zarr store",
    takes_files=True,
    takes_layout=True,
    any_step=True,
)
CHAOSBENCH = SourceSpec(
    "chaosbench", _Reader("chaosbench"), "a directory with one Zarr store per day"
)
CPC_GAUGE = SourceSpec(
    "cpc_gauge",
    _Reader("cpc_gauge"),
    "NetCDF files of the CPC gauge analysis",
    takes_files=True,
    # There are no gauges over the ocean.
    gaps=("total_precipitation_24hr",),
)
ERA5_CDS = SourceSpec(
    "era5_cds",
    _Reader("era5_cds"),
    "NetCDF or GRIB files of ERA5 from the Climate Data Store",
    takes_files=True,
    any_step=True,
)
NATURE_RUN = SourceSpec(
    "nature_run",
    _Reader("nature_run"),
    "a nature run (Zarr), make one with `slams simulate` or use `sample`",
    any_step=True,
)
NO_FIELDS = SourceSpec(
    "no_fields",
    _Reader("no_fields"),
    "the first and the last day, such as 2020-01-01/2020-01-31",
    has_files=False,
    any_step=True,
)
NOAA_PSL = SourceSpec(
    "noaa_psl",
    _Reader("noaa_psl"),
    "a NetCDF file of NOAA PSL ({key}.origin states its origin)",
    takes_files=True,
    any_step=True,
)
WEATHERBENCH2 = SourceSpec(
    "weatherbench2",
    _Reader("weatherbench2"),
    "a WeatherBench2 store (Zarr) or its address",
    any_step=True,
)


def open_source(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None = None,
    key: str = "data.source",
    step: float = 1.0,
) -> xr.Dataset:
    """Open a source lazily, checked and in canonical form (see `sources.canonical`).

    Args:
        config: The source's section of the recipe.
        channels: The channels to read.
        period: First and last day to read, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.
        step: Length (days) of the store's steps, see `slams.calendar.steps`.

    Raises:
        UserError: The kind is unknown, the files are missing, they cannot be made canonical, or
            the source has daily values only.
    """
    source = SOURCES.get(config.kind, f"{key}.kind")
    if step == 1:
        return source.open(config, channels, period, key)
    if not source.any_step:
        raise UserError(
            f"{key}.kind: {config.kind} has one value per day, expected data.step to be 24h; "
            f"found {describe_step(step)}"
        )
    return source.open(config, channels, period, key, step)
