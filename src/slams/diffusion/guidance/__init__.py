"""Kinds of guidance, one module each: denoisers of the posterior.

Each is a `Denoiser` of `(M, ...)` states that wraps the denoiser of the prior, so that any sampler
can integrate it; members are never coupled. The name of a module is the name of the kind in
recipes; `slams.plugins.guidance` finds its `SPEC`. Shared parts are in
`slams.diffusion.posterior`.
"""
