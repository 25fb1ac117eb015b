"""Registries of whatever a recipe names: methods, guidance, samplers, operators, sources."""
