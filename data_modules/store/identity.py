"""The part of a recipe that determines the content of a training store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from slams.config.difference import first_difference
from slams.config.schema import DataConfig, ObservationsConfig, SourceConfig

__all__ = ["observation_recipe", "store_difference", "store_recipe"]

# Keys of a source that every training store's recipe has.
_FIRST_KEYS = ("kind", "path", "origin", "grid", "regrid", "absent", "gaps")


def store_recipe(data: DataConfig, observations: ObservationsConfig, seed: int) -> dict[str, Any]:
    """Return the part of a recipe that determines what `prepare` writes, as plain containers.

    Validation and test days are excluded: they may change without another preparation.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        seed: The experiment's seed, by which observations are drawn.
    """
    own = not data.statistics_from
    recipe: dict[str, Any] = {
        **_sources(data.inputs),
        "channels": list(data.channels),
        "statistics_from": data.statistics_from,
        "train": [str(day) for day in data.splits.train] if own else [],
        "harmonics": data.harmonics if own else None,
        "sd_floor": data.sd_floor if own else None,
        "lags": list(data.lags) if own else [],
    }
    if data.step != "24h":  # stores from before the key existed have steps of a day
        recipe["step"] = data.step
    recipe["observations"] = (
        observation_recipe(observations, seed) if observations.source == "store" else None
    )
    return recipe


def _sources(inputs: list[tuple[str, SourceConfig]]) -> dict[str, Any]:
    """Return the keys that determine the fields, without later additions at their defaults.

    A store that was prepared before such a key existed then still has the same recipe.
    """
    default = asdict(SourceConfig())
    kept = [
        {k: v for k, v in asdict(source).items() if k in _FIRST_KEYS or v != default[k]}
        for _, source in inputs
    ]
    return {"source": kept[0]} if inputs[0][0] == "data.source" else {"sources": kept}


def observation_recipe(observations: ObservationsConfig, seed: int) -> dict[str, Any]:
    """Return the keys that determine the observations in a store."""
    drawn = [name for name in ("stations", "satellite") if name in observations.use]
    recipes = {name: asdict(getattr(observations, name)) for name in drawn}
    if "stations" in recipes:
        _leave_out(recipes["stations"])
    if "satellite" in recipes:
        _leave_out_of_imagery(recipes["satellite"])
    return {"seed": seed, "drawn": drawn, **recipes}


def _leave_out(stations: dict[str, Any]) -> None:
    """Remove the keys that do not affect the values of stations."""
    # Every station is drawn; held-out stations are chosen on reading.
    stations.pop("held_out", None)
    # It decides whether an archive is refused, and changes no value.
    stations["source"].pop("left_out")
    if not stations["source"]["kind"]:
        stations.pop("source")
    for variable in stations["variables"]:
        if variable["representativeness_km"] == 0:
            variable.pop("representativeness_km")


def _leave_out_of_imagery(satellite: dict[str, Any]) -> None:
    """Remove the keys that do not affect images from files, or slanted bands, or blocks."""
    if satellite["source"]["kind"]:
        # It decides whether files are refused, and changes no value.
        satellite["source"].pop("left_out")
        for name in ("coverage", "geometry", "orbit", "footprint_km", "composite"):
            satellite.pop(name)
        return
    satellite.pop("source")
    if satellite["geometry"] == "slanted":
        for name in ("geometry", "orbit"):
            satellite.pop(name)
    else:
        satellite.pop("coverage")
    if satellite["footprint_km"] == 0:
        satellite.pop("footprint_km")
    if satellite["composite"] == "latest":
        satellite.pop("composite")


def store_difference(found: Any, expected: Any, key: str = "") -> str:
    """Describe the first difference of two stores' recipes, with both values; "" if none.

    Args:
        found: The store's recipe, or a part of it.
        expected: The same part of the present recipe.
        key: Dotted path of that part.
    """
    other = first_difference(found, expected, key)
    if other is None:
        return ""
    return f"{other.key}: {other.found!r} in the store, {other.expected!r} in the recipe"
