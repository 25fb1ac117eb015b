"""Denoisers, their training, guidance by observations, and sampling.

Notation: `x_t = x + sigma_t n` (variance exploding, alpha_t = 1), `n ~ N(0, I)`;
`D(x_t) = E[x | x_t]` the denoiser; `y = H(x) + e`, `e ~ N(0, R)` the observations.
"""
