"""Streaming windows of a store in batches: datasets, samplers, loaders, caches."""
