"""The gain of an ensemble covariance with localisation point by point, solved domain by domain.

With centred anomalies Z (n, K, G) of K fields at G points and their images Y = H Z (n, P),
localisation L_zo (G, P) and L_oo (P, P), and `o` the elementwise product,

    S = L_oo o (Y^T Y) / (n - 1) + R
    increment of field k = [L_zo o (Z_k^T Y) / (n - 1)] S^-1 innovation

The gain (K * G, P) is never formed: the system is first solved for the innovations of all members,
V = S^-1 innovation (P, J); then the covariance of some points with the observations is formed.
Systems are solved in double precision, because dense observations make S badly conditioned.

One domain with all observations gives this solution, whose cost grows as P^3. With several
(`slams.linalg.domains`), each domain solves the system of the observations near it alone, at most
`limit` of them, and the increments of overlapping domains are blended: the cost grows as the
number of domains. Where a domain has all observations it gives the same as one domain; elsewhere
it neglects what far observations tell about near ones.

Which observations a domain uses is chosen in `slams.linalg.selection`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from slams.grid import great_circle, unit_vectors
from slams.linalg.censoring import equivalent_observations, solve_censored
from slams.linalg.domains import Domains
from slams.linalg.localisation import gaspari_cohn
from slams.linalg.partners import ALONE, Partners
from slams.linalg.selection import ObservedPoints, select
from slams.linalg.solution import factorise

__all__ = ["Gain"]

# Share of a domain in the position of an observation that only it selected, from afar.
_LEAST_SHARE = 1e-6

# Inverse error variance of an observation without information.
_NO_PRECISION = 1e-12

# Bytes of temporaries, and of localisation matrices that are kept for the next solution.
_TEMPORARY, _KEPT = 2**25, 2**29


class Gain:
    """Gains of one set of observations for any anomalies and innovations.

    Args:
        domains: Domains of the grid of the anomalies.
        positions: Latitudes and longitudes of the `G` points of that grid, `(G,)` each.
        half_width_km: Gaspari-Cohn half-width (km); infinity for no localisation.
        observed: The observations.
        limit: Largest number of observations that a domain uses.
        partners: Processes that solve the domains together, each some of them; weights are then
            those of this process's domains, and everything else is the same on each.
    """

    def __init__(
        self,
        domains: Domains,
        positions: tuple[Tensor, Tensor],
        half_width_km: float,
        observed: ObservedPoints,
        limit: float = math.inf,
        partners: Partners = ALONE,
    ) -> None:
        self.domains = domains.part(partners.rank, partners.world)
        self.partners = partners
        self.half_width_km = half_width_km
        self.observed = observed
        self._here = unit_vectors(*(x.to(torch.float64) for x in positions))
        self._there = unit_vectors(observed.latitude, observed.longitude)
        # Observations of each domain, padded: first those that are not silent, then the silent.
        reach = 2 * half_width_km
        heard, quiet = select(self.domains, observed, reach, min(limit, len(observed)))
        self.index = torch.cat([heard[0], quiet[0]], dim=1)
        self.used = torch.cat([heard[1], quiet[1]], dim=1)
        self._heard = heard[0].shape[1]
        self._full = bool(self.used.all())
        size = self.index.numel() * self.index.shape[1] * 4
        self._tapers: dict[int, Tensor] | None = {} if size <= _KEPT else None

    @classmethod
    def unlocalised(cls, points: int, silent: Tensor) -> Gain:
        """Return the gain without localisation of observations anywhere, in one domain.

        Args:
            points: Number of points of the anomalies.
            silent: `(P,)` bool, see `ObservedPoints`.
        """
        nowhere = silent.new_zeros(len(silent), dtype=torch.float64)
        observed = ObservedPoints(nowhere, nowhere, silent.long(), silent)
        here = nowhere.new_zeros(points)
        return cls(Domains.whole(points, silent.device), (here, here), math.inf, observed)

    def solve(self, images: Tensor, variance: Tensor, innovations: Tensor) -> Tensor:
        """Solve S V = innovations, where silent observations are their expected values.

        Args:
            images: `(n, P)` observed anomalies Y, centred.
            variance: `(P,)` diagonal of R.
            innovations: `(J, P)` observed minus predicted, for silent observations their bound.

        Returns:
            V, `(D, p, J)` float64 for the observations `index` of each domain.

        Raises:
            UserError: S is not positive definite.
        """
        weights, images = [], images.T.contiguous()
        for some in self._pieces():
            factor = factorise(self._covariance(images, variance, some))
            departure = self._of(innovations.T, some).to(torch.float64)
            weights.append(solve_censored(factor, departure, self._heard))
        return torch.cat(weights)

    def increments(self, anomalies: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        """Compute the increments of the state, blended over domains.

        Args:
            anomalies: `(n, K, G)` anomalies Z, centred.
            images: `(n, P)` observed anomalies Y, centred.
            weights: `(D, p, J)` V of `solve`.

        Returns:
            `(J, K, G)` increments in the units and the precision of the anomalies.
        """
        n, fields, grid = anomalies.shape
        weights = weights.to(anomalies) / (n - 1)
        count, images = weights.shape[2], images.T.to(anomalies.dtype).contiguous()
        # Where there are fewer increments than fields, weighting the days takes less.
        if count < fields and grid * count * n * anomalies.element_size() <= _KEPT:
            return self._of_weighted_days(anomalies, images, weights)

        def found(local: Tensor, points: Tensor, some: Tensor) -> Tensor:
            observed = self._of(images, some).mT  # (b, n, p)
            covariance = (local.flatten(1, 2) @ observed).unflatten(1, (-1, fields))
            if math.isfinite(self.half_width_km):
                covariance *= self._taper(self._here[points], some).unsqueeze(2)
            return covariance.flatten(1, 2) @ weights[some]

        # The largest temporaries of a point: anomalies, and covariances with the observations.
        wide = fields * max(n, self.index.shape[1])
        return self._blended(anomalies, count, wide, found)

    def _of_weighted_days(self, anomalies: Tensor, images: Tensor, weights: Tensor) -> Tensor:
        """Compute the increments by the weights that each day has in each point.

        Args:
            anomalies: `(n, K, G)`.
            images: `(P, n)`.
            weights: `(D, p, J)`, divided by `n - 1`.

        Returns:
            `(J, K, G)`.
        """
        n, fields, grid = anomalies.shape
        count = weights.shape[2]
        total = anomalies.new_zeros(grid, count * n)
        wide = count * max(n, self.index.shape[1]) * anomalies.element_size()
        for some, points, shares in self._parts(max(_TEMPORARY // wide, 1)):
            blend = shares.to(anomalies)[..., None]  # (b, g, p) with the taper
            if math.isfinite(self.half_width_km):
                blend = blend * self._taper(self._here[points], some)
            own = blend.unsqueeze(2) * weights[some].mT.unsqueeze(1)  # (b, g, J, p)
            days = own.flatten(1, 2) @ self._of(images, some)  # (b, g J, n)
            total.index_add_(0, points.flatten(), days.reshape(-1, count * n))
        by_row = anomalies.flatten(1).T.contiguous().unflatten(0, (fields, grid))
        found = total.unflatten(1, (count, n)) @ by_row.permute(1, 2, 0)
        return self.partners.total(found.contiguous()).permute(1, 2, 0)

    def _parts(self, most: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Return domains with some of their points and their shares in these.

        Args:
            most: Number of points at a time.
        """
        for some, size in self._by_size(most):
            step = max(most // len(some), 1)
            for points, shares in zip(
                self.domains.points[some, :size].split(step, dim=1),
                self.domains.shares[some, :size].split(step, dim=1),
                strict=True,
            ):
                yield some, points, shares

    def _blended(
        self,
        anomalies: Tensor,
        count: int,
        wide: int,
        found: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Blend the increments of overlapping domains by their shares.

        Args:
            anomalies: `(n, K, G)`.
            count: Number of increments `J`.
            wide: Numbers in the temporaries of a point.
            found: Function from anomalies `(b, g, K, n)` at points `(b, g)` of domains `(b,)` to
                their increments `(b, g * K, J)`.

        Returns:
            `(J, K, G)`.
        """
        _, fields, grid = anomalies.shape
        total = anomalies.new_zeros(grid, fields * count)
        rows = grid * torch.arange(fields, device=anomalies.device)
        by_row = anomalies.flatten(1).T  # (K G, n)
        if by_row.numel() * by_row.element_size() <= _KEPT:
            by_row = by_row.contiguous()  # rows are gathered several times as fast
        most = max(_TEMPORARY // (wide * anomalies.element_size()), 1)
        for some, points, shares in self._parts(most):
            part = found(by_row[points[..., None] + rows], points, some)
            part = part.unflatten(1, (points.shape[1], -1)).flatten(2)
            part *= shares.to(part)[..., None]
            total.index_add_(0, points.flatten(), part.flatten(0, 1))
        return self.partners.total(total).unflatten(1, (-1, count)).permute(2, 1, 0)

    def inner(self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> float:
        """Return the scalar product of two increments with respect to the inverse covariance.

        With one domain this is `w^T [L_oo o (Y^T Y') / (n - 1)] w'`. With several, the part of
        each observation is taken from the domains around it, by their shares.

        Args:
            left: Images Y `(n, P)` and their weights w `(D, p, 1)`.
            right: The same of the other increment, Y' and w'.
        """
        total = torch.zeros((), dtype=torch.float64, device=self.index.device)
        shares = self._shares()
        for some in self._pieces():
            one, two = (self._of(x.T, some).to(torch.float64) for x, _ in (left, right))
            product = one @ two.mT / (left[0].shape[0] - 1)
            if math.isfinite(self.half_width_km):
                product *= self._taper_observed(some)
            part = (product @ right[1][some])[..., 0] * left[1][some][..., 0]
            total += (part * shares[some]).sum()
        return float(self.partners.total(total))

    def equivalent(
        self, images: Tensor, innovation: Tensor, variance: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Replace silent observations by Gaussian ones with the same effect on the prior.

        Args:
            images: `(n, P)` observed anomalies of the prior, centred.
            innovation: `(P,)` observed minus predicted, for silent observations their bound.
            variance: `(P,)` diagonal of R.

        Returns:
            Innovation and error variance, `(P,)` each; unchanged where not silent. Where several
            domains selected an observation, their precisions are averaged by their shares in its
            position; one that no domain selected has no information.
        """
        silent = self.observed.silent
        if not bool(silent.any()):
            return innovation, variance
        # Sums over domains of their shares, of precisions, and of precisions times values.
        sums = innovation.new_zeros(3, len(silent), dtype=torch.float64)
        images = images.T.contiguous()
        shares = self._shares() + _LEAST_SHARE * self.used
        for some in self._pieces():
            factor = factorise(self._covariance(images, variance, some))
            departure = self._of(innovation[:, None], some)[..., 0].to(torch.float64)
            own = self._of(variance[:, None], some)[..., 0].to(torch.float64)
            value, error = equivalent_observations(factor, departure, own, self._heard)
            share = shares[some, self._heard :].to(torch.float64)
            parts = torch.stack([share, share / error, share / error * value]).flatten(1)
            sums.index_add_(1, self.index[some, self._heard :].flatten(), parts)
        share, precision, shift = self.partners.total(sums)[:, silent]
        precision = torch.where(share > 0, precision / share, _NO_PRECISION)
        found, spread = innovation.clone(), variance.clone()
        found[silent] = (shift / share.clamp(min=_LEAST_SHARE) / precision).to(found)
        spread[silent] = (1 / precision).to(spread)
        return found, spread

    def _pieces(self, size: int = 0) -> Iterator[slice]:
        """Return ranges of domains whose matrices are small together.

        Args:
            size: Rows of the matrix of a domain; by default those of S.
        """
        step = max(_TEMPORARY // (8 * max(size or self.index.shape[1], 1) ** 2), 1)
        for start in range(0, len(self.domains), step):
            yield slice(start, start + step)

    def _by_size(self, most: int) -> Iterator[tuple[Tensor, int]]:
        """Return domains of about equal size, which have up to `most` points together.

        Domains near the poles have many times more points than others: padded to the same number
        all would cost as much.
        """
        sizes = (self.domains.shares > 0).sum(dim=1)
        order = sizes.argsort(stable=True)
        known = sizes[order].tolist()
        start = 0
        while start < len(order):
            end = start + 1
            # To no more than a tenth above the smallest, so that little is padding.
            while end < len(order) and known[end] <= 1.1 * known[start] + 1:
                if (end + 1 - start) * known[end] > most:
                    break
                end += 1
            yield order[start:end], known[end - 1]
            start = end

    def _of(self, values: Tensor, some: slice | Tensor) -> Tensor:
        """Select the observations of some domains: `(P, J)` to `(b, p, J)`, 0 for padding."""
        found = values[self.index[some]]
        return found if self._full else found.mul_(self.used[some][..., None])

    def _covariance(self, images: Tensor, variance: Tensor, some: slice) -> Tensor:
        """Form S of some domains, `(b, p, p)` float64; padding has the variance 1 by itself.

        Args:
            images: `(P, n)`, in this order since observations are gathered.
            variance: `(P,)`.
            some: The domains.
        """
        observed = self._of(images, some).to(torch.float64)
        covariance = (observed @ observed.mT).div_(images.shape[1] - 1)
        if math.isfinite(self.half_width_km):
            covariance.mul_(self._taper_observed(some))
        own = variance.to(torch.float64)[self.index[some]]
        covariance.diagonal(dim1=-2, dim2=-1).add_(torch.where(self.used[some], own, 1.0))
        return covariance

    def _taper(self, points: Tensor, some: slice | Tensor) -> Tensor:
        """Return the localisation between unit vectors `(b, g, 3)` and observations, float32."""
        away = great_circle(points, self._there[self.index[some]])
        return gaspari_cohn(away, self.half_width_km).to(torch.float32)

    def _taper_observed(self, some: slice) -> Tensor:
        if self._tapers is None:
            return self._taper(self._there[self.index[some]], some)
        if some.start not in self._tapers:
            self._tapers[some.start] = self._taper(self._there[self.index[some]], some)
        return self._tapers[some.start]

    def _shares(self) -> Tensor:
        """Return the shares of the domains in the positions of their observations, `(D, p)`."""
        shares = self.domains.shares_at(self.observed.latitude, self.observed.longitude)
        return shares.gather(1, self.index) * self.used
