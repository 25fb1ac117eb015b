"""Networks that know the sphere: layers, the autoencoder's paths, the latent U-Net."""
