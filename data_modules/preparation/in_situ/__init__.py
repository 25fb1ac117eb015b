"""Preparation of station reports: positions, quality control, daily values, thinning."""
