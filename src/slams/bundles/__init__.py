"""Bundles: a trained model with all that an analysis needs, in one directory."""
