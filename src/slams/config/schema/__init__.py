"""The configuration schema: what a recipe may say, with defaults, units and meanings.

Plain data classes, so that reading a recipe costs no heavy import. `slams.config.loading` loads
recipes into these classes and refuses what does not fit; the comment above a field is its help
text.
"""

from slams.config.schema.assimilation import (
    AssimilationConfig,
    EnsembleKalmanConfig,
    Latent3DVarConfig,
    LinearInverseModelConfig,
    OptimalInterpolationConfig,
    PixelDiffusionConfig,
    ScoreMeanConfig,
    ThreeDVarConfig,
)
from slams.config.schema.data import (
    DataConfig,
    PrepareConfig,
    SourceConfig,
    SourceDimensionsConfig,
    SourceVariableConfig,
    SplitsConfig,
)
from slams.config.schema.networks import OptimizerConfig, ScoreConfig, VAEConfig
from slams.config.schema.observations import (
    BackgroundConfig,
    DegradationConfig,
    InstrumentConfig,
    ObservationsConfig,
    OrbitConfig,
    SatelliteConfig,
    StationQualityConfig,
    StationsConfig,
    StationSourceConfig,
    StationVariableConfig,
)
from slams.config.schema.recipe import Config
from slams.config.schema.running import (
    AblationConfig,
    ReportConfig,
    SimulateConfig,
    TrackingConfig,
    TrainerConfig,
)

__all__ = [
    "AblationConfig",
    "AssimilationConfig",
    "BackgroundConfig",
    "Config",
    "DataConfig",
    "DegradationConfig",
    "EnsembleKalmanConfig",
    "InstrumentConfig",
    "Latent3DVarConfig",
    "LinearInverseModelConfig",
    "ObservationsConfig",
    "OptimalInterpolationConfig",
    "OptimizerConfig",
    "OrbitConfig",
    "PixelDiffusionConfig",
    "PrepareConfig",
    "ReportConfig",
    "SatelliteConfig",
    "ScoreConfig",
    "ScoreMeanConfig",
    "SimulateConfig",
    "SourceConfig",
    "SourceDimensionsConfig",
    "SourceVariableConfig",
    "SplitsConfig",
    "StationQualityConfig",
    "StationSourceConfig",
    "StationVariableConfig",
    "StationsConfig",
    "ThreeDVarConfig",
    "TrackingConfig",
    "TrainerConfig",
    "VAEConfig",
]
