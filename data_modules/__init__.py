"""Data: stores, sources, preparation, datasets and the LightningDataModules."""
