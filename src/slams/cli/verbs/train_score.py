"""`slams train score`."""

from __future__ import annotations

from slams.cli.kinds import Stage, stage_verb


def load() -> Stage:
    """Import the stage."""
    from slams.stages.training import train_score

    return train_score


VERB = stage_verb(
    "train score",
    load,
    summary="train the denoiser of latent windows",
    description=(
        "Encodes the training store with the VAE and trains the latent score on it. "
        "Continues from the last checkpoint when a run was killed; a finished run is kept."
    ),
    sections=("score", "background", "trainer"),
    order=40,
)
