"""Networks on the sphere: layers, the autoencoder and the latent U-Net."""
