"""Linear algebra of the analysis: localisation, gains, censored observations."""
