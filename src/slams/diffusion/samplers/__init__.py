"""Samplers of the reverse diffusion, one module each.

A module's name is the sampler's name in recipes, its `SPEC` what `slams.plugins.samplers` finds.
"""
