"""Rules for an archive of station reports in a recipe; nothing is read or imported."""

from __future__ import annotations

from slams.config.schema import Config
from slams.errors import UserError
from slams.plugins.station_sources import STATION_SOURCES

__all__ = ["check_station_source"]

_PREFIX = "observations.stations.source"


def check_station_source(config: Config) -> None:
    """Refuse an archive that the recipe cannot use.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    stations = config.observations.stations
    source = stations.source
    spec = STATION_SOURCES.get(source.kind, f"{_PREFIX}.kind") if source.kind else None
    if spec is None:
        return
    if not source.path:
        raise UserError(f"key '{_PREFIX}.path': found nothing, expected the files of the archive")
    if spec.needs_station_list and not source.station_list:
        raise UserError(
            f"key '{_PREFIX}.station_list': found nothing, expected the archive's list of "
            f"stations, which {source.kind} takes positions from"
        )
    if "stations" in config.observations.use and config.observations.source != "store":
        raise UserError(
            f"key 'observations.source': found {config.observations.source!r}, expected 'store', "
            f"since {_PREFIX}.kind is {source.kind}: real reports are prepared into the store"
        )
    if stations.file:
        raise UserError(
            f"key 'observations.stations.file': found {stations.file!r}, expected nothing, since "
            f"{_PREFIX} brings its own stations"
        )
    if stations.missing > 0:
        raise UserError(
            f"key 'observations.stations.missing': found {stations.missing}, expected 0, since "
            f"real reports are missing where they are"
        )
    for position, variable in enumerate(stations.variables):
        name = variable.channel.partition("@")[0]
        if name not in spec.variables:
            raise UserError(
                f"key 'observations.stations.variables.{position}.channel': found "
                f"{variable.channel!r}, expected what {source.kind} reports: "
                f"{', '.join(spec.variables)}"
            )
