"""Kinds of guidance, one module each: denoisers of the posterior.

Each is a `Denoiser` of `(M, ...)` states that wraps the prior's, so that any sampler integrates
it; none couples the members. A module's name is the kind's name in recipes, its `SPEC` what
`slams.plugins.guidance` finds. What they have in common is in `slams.diffusion.posterior`.
"""
