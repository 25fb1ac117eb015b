"""What each value of a recipe may be by itself: choices, least values, probabilities and shares.

How values must fit one another is checked in `slams.config.checks`.
"""

from __future__ import annotations

from slams.config.checks.rules import check_registered, holds, one_of, value_at
from slams.config.schema import Config
from slams.plugins.guidance import GUIDANCE
from slams.plugins.samplers import SAMPLERS

__all__ = ["check_values"]

_CHOICES = {
    "resume": ("auto", "never", "overwrite"),
    "data.cache": ("none", "memory", "mmap"),
    "data.prepare.scheduler": ("threads", "distributed", "slurm"),
    "observations.source": ("truth", "store"),
    "observations.satellite.geometry": ("slanted", "orbit"),
    "observations.satellite.composite": ("latest", "mean"),
    "background.kind": ("damped_persistence", "climatology", "file"),
    "score.space": ("latent", "pixel"),
    "score.loss": ("latent", "decoded"),
    "assimilation.guidance.likelihood": ("decoder", "latent"),
    "assimilation.guidance.background": ("condition", "observation", "both", "neither"),
    "trainer.accelerator": ("auto", "cpu", "gpu"),
    "simulate.sampling": ("daily_means", "instants"),
    "assimilation.sampler.precision": ("auto", "32-true", "bf16-mixed"),
    "trainer.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
}
# Values that name a specification, of other packages too.
_REGISTERED = {
    "assimilation.guidance.kind": GUIDANCE,
    "assimilation.sampler.kind": SAMPLERS,
}
_AT_LEAST = {
    "seed": 0,
    "data.splits.gap": 0,
    "data.harmonics": 0,
    "data.window": 1,
    "data.trajectory": 0,
    "data.batch_size": 1,
    "data.num_workers": 0,
    "data.prepare.workers": 0,
    "data.ahead": 0,
    "data.test_cases": 0,
    "observations.stations.count": 1,
    "observations.satellite.footprint": 1,
    "observations.satellite.orbit.repeat_days": 1,
    "observations.satellite.orbit.revolutions": 1,
    "observations.degraded.block": 1,
    "observations.degraded.gap": 1,
    "background.lag": 1,
    "background.recentre_days": 0,
    "vae.latent_channels": 1,
    "vae.factor": 1,
    "vae.hidden": 1,
    "vae.blocks": 0,
    "vae.batch_size": 1,
    "score.blocks": 1,
    "score.embedding": 1,
    "score.ensemble": 1,
    "score.batch_size": 1,
    # Two members are the fewest that have a spread.
    "assimilation.members": 2,
    "assimilation.batch_size": 1,
    "assimilation.guidance.archive": 2,
    "assimilation.guidance.background_points": 1,
    "assimilation.guidance.iterations": 1,
    "assimilation.guidance.linearisations": 1,
    # The first noise level and the last.
    "assimilation.sampler.steps": 2,
    "assimilation.sampler.corrections": 0,
    "assimilation.optimal_interpolation.season": 1,
    "assimilation.three_d_var.season": 1,
    "assimilation.three_d_var.outer_loops": 1,
    "assimilation.latent_3dvar.season": 1,
    "assimilation.latent_3dvar.outer_loops": 1,
    "assimilation.latent_3dvar.archive": 2,
    "assimilation.enkf.ensemble": 2,
    "assimilation.enkf.season": 1,
    "assimilation.letkf.ensemble": 2,
    "assimilation.letkf.season": 1,
    "assimilation.linear_inverse_model.eofs": 1,
    "assimilation.linear_inverse_model.folds": 2,
    "assimilation.linear_inverse_model.gap": 0,
    "assimilation.score_mean.draws": 1,
    "assimilation.modality_study": 0,
    "assimilation.cycle_days": 0,
    "assimilation.bootstrap_block": 1,
    "assimilation.bootstrap_samples": 1,
    "assimilation.keep_cases": 0,
    "trainer.devices": 1,
    "trainer.num_nodes": 1,
    "trainer.threads": 0,
    "trainer.validate_every_epochs": 1,
    "trainer.checkpoint_every_steps": 0,
    "report.case": 0,
    "report.level": 1,
    "report.dpi": 20,
    "simulate.months": 1,
    "simulate.spinup_days": 0,
    "simulate.truncation": 1,
}
_NOT_NEGATIVE = (
    "observations.satellite.footprint_km",
    "data.sd_floor",
    "assimilation.guidance.gamma",
    "assimilation.guidance.season",
    "score.shifts",
    "assimilation.optimal_interpolation.shifts",
    "assimilation.three_d_var.shifts",
    "vae.kl_weight",
    "trainer.log_every_seconds",
)
_POSITIVE = (
    # An R of zero has no inverse.
    "observations.satellite.error",
    "observations.satellite.orbit.swath_km",
    "observations.degraded.noise",
    "observations.gross_error",
    "score.noise_sd",
    "assimilation.guidance.localisation",
    "assimilation.guidance.below_sigma",
    "assimilation.guidance.zeta",
    "assimilation.sampler.sigma_min",
    "assimilation.sampler.inflation",
    "assimilation.optimal_interpolation.localisation",
    "assimilation.three_d_var.localisation",
    "assimilation.latent_3dvar.localisation",
    "assimilation.pixel_diffusion.noise_scale",
    "assimilation.enkf.localisation",
    "assimilation.enkf.inflation",
    "assimilation.letkf.localisation",
    "assimilation.letkf.inflation",
    "assimilation.score_mean.sigma",
    "assimilation.cycle_inflation",
    "tracking.system_seconds",
)
_IN_UNIT_INTERVAL = (
    "assimilation.enkf.rtps",
    "assimilation.letkf.rtps",
    "score.condition_dropout",
)
# Probabilities and shares: a share of one would leave nothing.
_SHARES = (
    "observations.stations.missing",
    "observations.stations.held_out",
    "background.analysis_error",
    "vae.modality_dropout",
    "score.dropout",
)


def check_values(config: Config) -> None:
    """Refuse a value that is out of its range, whatever the others are.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    for key, choices in _CHOICES.items():
        one_of(key, value_at(config, key), choices)
    for key, registry in _REGISTERED.items():
        check_registered(key, value_at(config, key), registry)
    for key, smallest in _AT_LEAST.items():
        holds(config, key, lambda v, s=smallest: v >= s, f"at least {smallest}")
    for key in _NOT_NEGATIVE:
        holds(config, key, lambda v: v >= 0, "0 or more")
    for key in _POSITIVE:
        holds(config, key, lambda v: v > 0, "more than 0")
    for key in _SHARES:
        holds(config, key, lambda v: 0 <= v < 1, "at least 0 and less than 1")
    for key in _IN_UNIT_INTERVAL:
        holds(config, key, lambda v: 0 <= v <= 1, "in [0, 1]")
    holds(config, "assimilation.sampler.correction", lambda v: 0 < v <= 1, "in (0, 1]")
    holds(config, "assimilation.sampler.order", lambda v: 1 <= v <= 4, "1 to 4")
    holds(
        config,
        "observations.satellite.orbit.inclination",
        lambda v: 0 <= v < 180,
        "in [0, 180), 0 for the sun-synchronous one",
    )
    holds(
        config,
        "observations.satellite.orbit.crossing_time",
        lambda v: 0 <= v < 24,
        "an hour in [0, 24)",
    )
    holds(config, "observations.satellite.coverage", lambda v: 0 < v <= 1, "in (0, 1]")
    # What torch takes as a seed.
    holds(config, "seed", lambda v: v < 2**63, "less than 2**63")
