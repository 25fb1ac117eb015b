"""Observation operators that an instrument of a recipe names, one module each.

A module's name is the operator's name in recipes, its `SPEC` what `slams.plugins.operators`
finds.
"""
