"""Specifications of everything that a recipe chooses by name, for other packages to extend.

A package registers a specification by an entry point of the group named in the comment below, or
a recipe names it as `module:Class`. See `slams.plugins.registry` for both.
"""

from slams.plugins.guidance import GuidanceSpec  # slams.guidance
from slams.plugins.imagery_sources import ImagerySourceSpec  # slams.imagery_sources
from slams.plugins.methods import FirstGuessSpec, MethodSpec  # slams.first_guesses, slams.methods
from slams.plugins.operators import OperatorSpec  # slams.operators
from slams.plugins.samplers import SamplerSpec  # slams.samplers
from slams.plugins.sources import SourceSpec  # slams.sources
from slams.plugins.station_sources import StationSourceSpec  # slams.station_sources

__all__ = [
    "FirstGuessSpec",
    "GuidanceSpec",
    "ImagerySourceSpec",
    "MethodSpec",
    "OperatorSpec",
    "SamplerSpec",
    "SourceSpec",
    "StationSourceSpec",
]
