"""Observation operators that an instrument of a recipe names, one module each.

The name of a module is the name of the operator in recipes; `slams.plugins.operators` finds its
`SPEC`.
"""
