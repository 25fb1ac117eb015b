"""`slams train vae`."""

from __future__ import annotations

from slams.cli.kinds import Stage, stage_verb


def load() -> Stage:
    """Import the stage."""
    from slams.stages.training import train_vae

    return train_vae


VERB = stage_verb(
    "train vae",
    load,
    summary="train the autoencoder of all modalities",
    description=(
        "Trains the VAE on the training store. Continues from the last checkpoint when a "
        "run was killed; a finished run is kept."
    ),
    sections=("vae", "trainer"),
    order=30,
)
