"""Windows out of a store and into batches: datasets, samplers, loaders, caches."""
