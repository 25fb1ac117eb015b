"""The whole recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.config.paths import DIRECTORY, NAMES, WRITTEN_PATH
from slams.config.schema.assimilation import AssimilationConfig
from slams.config.schema.data import DataConfig
from slams.config.schema.networks import FilterConfig, ScoreConfig, VAEConfig
from slams.config.schema.observations import BackgroundConfig, ObservationsConfig
from slams.config.schema.running import (
    AblationConfig,
    ReportConfig,
    SimulateConfig,
    TrackingConfig,
    TrainerConfig,
)
from slams.plugins.keys import at_least, key, one_of, optional, that

__all__ = ["Config"]


@dataclass
class Config:
    """A recipe."""

    # Name of the experiment: directory under `runs` and MLflow experiment.
    experiment: str = key("demo", NAMES)
    # Directory of all run directories.
    runs: str = key("runs", WRITTEN_PATH, DIRECTORY)
    # Seed of everything that is drawn: initial weights, noise, order of the training windows,
    # station sites, observation errors and members.
    seed: int = key(0, at_least(0), that(lambda v: v < 2**63, "less than 2**63"))
    # What to do with a run directory that exists: `auto` continues a killed run, keeps a finished
    # one and refuses one of another recipe; `never` refuses; `overwrite` starts over.
    resume: str = key("auto", one_of("auto", "never", "overwrite"))
    # Plug-ins that names in this recipe come from: each `module:Class` that brings a method, a
    # kind of guidance, a sampler, an operator or a source. One that is named in place
    # (`assimilation.methods=[module:Class]`) is added by itself.
    plugins: list[str] = field(default_factory=list)
    data: DataConfig = field(default_factory=DataConfig)
    observations: ObservationsConfig = field(default_factory=ObservationsConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    score: ScoreConfig = field(default_factory=ScoreConfig)
    # Experiment whose trained VAE and score are used ("" for this one's own).
    pretrained_experiment: str = key("", optional(NAMES))
    assimilation: AssimilationConfig = field(default_factory=AssimilationConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
