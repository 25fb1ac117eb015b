"""Sources of fields by name: the properties needed to check recipes, and their readers.

Each row of `SPECS` describes one source (`slams.plugins.sources`); `readers` has one module per
source. A reader returns a canonical dataset, whatever the layout of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from slams.plugins.sources import SOURCES, SourceSpec

if TYPE_CHECKING:
    import xarray as xr

    from slams.config.schema import SourceConfig
    from slams.fields import FieldSpec

__all__ = ["SPECS", "open_source"]


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
    ) -> xr.Dataset:
        from data_modules.sources.canonical.reading import Reading

        module = import_module(f"{__name__}.readers.{self.name}")
        read = getattr(module, f"open_{self.name}")
        return read(Reading(config, tuple(channels), key, period))


def _spec(name: str, expected: str) -> SourceSpec:
    return SourceSpec(name, _Reader(name), expected)


_GAUGES = _spec("cpc_gauge", "NetCDF files of the CPC gauge analysis")
_CF = _spec("cf", "a NetCDF file or a Zarr store")
_PSL = _spec("noaa_psl", "a NetCDF file of NOAA PSL ({key}.origin states its origin)")
_DAYS = _spec("no_fields", "the first and the last day, such as 2020-01-01/2020-01-31")

SPECS = {
    spec.name: spec
    for spec in (
        _spec("arco_era5", "an ARCO-ERA5 store (Zarr) or its address"),
        replace(_CF, takes_files=True, takes_layout=True),
        _spec("chaosbench", "a directory with one Zarr store per day"),
        # There are no gauges over the ocean.
        replace(_GAUGES, takes_files=True, gaps=("total_precipitation_24hr",)),
        _spec("nature_run", "a nature run (Zarr), make one with `slams simulate` or use `sample`"),
        replace(_DAYS, has_files=False),
        replace(_PSL, takes_files=True),
        _spec("weatherbench2", "a WeatherBench2 store (Zarr) or its address"),
    )
}


def open_source(
    config: SourceConfig,
    channels: Sequence[FieldSpec],
    period: tuple[float, float] | None = None,
    key: str = "data.source",
) -> xr.Dataset:
    """Open a source lazily, checked and in canonical form (see `sources.canonical`).

    Args:
        config: The source's section of the recipe.
        channels: The channels to read.
        period: First and last day to read, days since 1970-01-01; all days by default.
        key: Dotted key of the source in the recipe, for messages.

    Raises:
        UserError: The kind is unknown, the files are missing, or they cannot be made canonical.
    """
    return SOURCES.get(config.kind, f"{key}.kind").open(config, channels, period, key)
