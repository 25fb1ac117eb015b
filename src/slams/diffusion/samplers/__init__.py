"""Samplers of the reverse diffusion, one module each.

The name of a module is the name of the sampler in recipes; `slams.plugins.samplers` finds its
`SPEC`.
"""
