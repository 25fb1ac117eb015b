"""The training store (Zarr v3): its layout, files, checksums and identity."""
