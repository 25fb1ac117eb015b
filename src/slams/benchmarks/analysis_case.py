"""One cell of `slams bench scaling`: guidance of a synthetic case, in a process of its own.

    python -m slams.benchmarks.analysis_case '{"analysis": "local", "reports": 8000}'

The peak of a process never falls, so each case is solved in a fresh one, which prints its cost as
JSON. No trained network is needed: cost depends on sizes, and on the observations' positions. The
archive of denoising errors is made of smooth random fields on the latent grid; an observation is a
sum of them at its place, with noise for the error of the decoder. A third of the reports each are
temperature and rain of the same stations, and imagery, all spread evenly over the globe.

Seconds are those of the processor, all threads together, so that other programs on the machine do
not count.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from slams.grid import LatLonGrid
from slams.linalg.archive_gain import ArchiveGain
from slams.linalg.domains import Domains
from slams.linalg.gain import Gain
from slams.linalg.selection import ObservedPoints
from slams.linalg.settings import LocalSettings
from slams.nn.sphere import pad_sphere
from slams.runtime.memory import resident_memory

__all__ = ["ANALYSES", "CaseCost", "CaseSize", "seam_ratio", "solve_case", "synthetic_case"]

# All observations at once; domain by domain with all observations in reach, in their space and in
# that of the archive; with at most `limit` of them, and with these after averaging in the cells of
# the grid.
ANALYSES = ("dense", "local_unselected", "archive", "local", "local_superob")
# Kinds of observations, the variance of their errors, and the share of it that those of one cell
# have in common.
_KINDS, _VARIANCE, _COMMON = 3, 0.5, 0.3
# Times that white noise on the latent grid is averaged over neighbours: errors of denoised
# latents are correlated over a few points, at every place in the same way.
_SMOOTH = 3
# Degrees from the equator up to which seams are looked for: bands near a pole have few domains.
_SEAM_LATITUDE = 70.0


@dataclass(frozen=True)
class CaseSize:
    """Size of a case.

    Attributes:
        analysis: One of `ANALYSES`.
        reports: Number of reports.
        rows: Latitudes of the fields' grid.
        columns: Longitudes of it.
        factor: Factor by which the latent grid has fewer points in each direction.
        fields: Latent channels times days of the window, `K`.
        members: Members `J`.
        days: Archive days `n`.
        levels: Noise levels that are timed, at least two.
        half_width_km: Half-width of the localisation (km).
        spacing_km: Distance between domains (km).
        limit: Largest number of observations of a domain.
        silent: Whether all reports are silent rain gauges (`slams.linalg.censoring`).
        threads: Threads of the process.
        seed: Seed of everything random.
    """

    analysis: str = "local"
    reports: int = 2000
    rows: int = 48
    columns: int = 96
    factor: int = 4
    fields: int = 32
    members: int = 16
    days: int = 240
    levels: int = 2
    half_width_km: float = 3000.0
    spacing_km: float = LocalSettings.spacing
    limit: int = LocalSettings.observations
    silent: bool = False
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class CaseCost:
    """Cost of a case.

    Attributes:
        points: Observations that were analysed, after averaging.
        setup_seconds: Seconds once per case: to prepare the gain, and what the first noise level
            took longer than the others, because localisations are then kept.
        level_seconds: Seconds per further noise level, for all members; the median.
        program_bytes: Resident memory before the case.
        peak_bytes: Largest resident memory.
        seam: Roughness across the borders of domains over that inside, see `seam_ratio`; NaN
            with one domain.
    """

    points: int
    setup_seconds: float
    level_seconds: float
    program_bytes: int
    peak_bytes: int
    seam: float


@dataclass(frozen=True)
class SyntheticCase:
    """Archive and observations: anomalies `(n, K, G)`, images `(n, P)`, innovations `(J, P)`."""

    anomalies: Tensor
    images: Tensor
    variance: Tensor
    innovations: Tensor
    observed: ObservedPoints


@torch.no_grad()
def solve_case(size: CaseSize) -> CaseCost:
    """Compute the guidance of a case at some noise levels.

    Args:
        size: Its size; `threads` is left to the caller.
    """
    program = resident_memory()
    latent = _grid(-(-size.rows // size.factor), -(-size.columns // size.factor))
    case = synthetic_case(size, latent)
    if size.analysis == "local_superob":
        case = _averaged(case, _grid(size.rows, size.columns))
    started = time.process_time()
    dense = size.analysis == "dense"
    points = latent.shape[0] * latent.shape[1]
    domains = Domains.whole(points) if dense else Domains.cover(latent, size.spacing_km)
    limit = size.limit if size.analysis in ("local", "local_superob") else math.inf
    kind = ArchiveGain if size.analysis == "archive" else Gain
    gain = kind(domains, latent.points, size.half_width_km, case.observed, limit)
    setup = time.process_time() - started
    seconds = []
    for _ in range(size.levels):
        started = time.process_time()
        weights = gain.solve(case.images, case.variance, case.innovations)
        increments = gain.increments(case.anomalies, case.images, weights)
        seconds.append(time.process_time() - started)
    seam = math.nan if dense else seam_ratio(increments.unflatten(-1, latent.shape), domains)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    level = statistics.median(seconds[1:])
    setup += max(seconds[0] - level, 0.0)
    return CaseCost(len(case.observed), setup, level, program, peak, seam)


def synthetic_case(size: CaseSize, latent: LatLonGrid) -> SyntheticCase:
    """Draw the archive and the observations of a case.

    Args:
        size: Its size.
        latent: The latent grid.
    """
    random = torch.Generator().manual_seed(size.seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    # Of the days of the archive, and of one more for each member, whose departure is observed.
    anomalies = torch.empty(size.days + size.members, size.fields, *latent.shape)
    for day in anomalies:  # day by day, since the peak is to be that of the analysis
        noise = normal(size.fields, *latent.shape)
        for _ in range(_SMOOTH):
            noise = functional.avg_pool2d(pad_sphere(noise, 1), 3, stride=1)
        day[:] = noise / noise.std()
    anomalies = anomalies.flatten(2)
    kind = torch.arange(size.reports) % _KINDS
    place = torch.where(kind == 1, torch.arange(size.reports) - 1, torch.arange(size.reports))
    uniform = torch.rand(size.reports, 2, generator=random, dtype=torch.float64)[place]
    latitude = torch.rad2deg(torch.asin(2 * uniform[:, 0] - 1))
    longitude = 360 * uniform[:, 1]
    index, weight = latent.interpolation(latitude, longitude)
    images = normal(len(anomalies), size.reports).mul_(0.5)
    for number in range(_KINDS):
        mine = torch.nonzero(kind == number).flatten()
        share = normal(size.fields) / math.sqrt(size.fields)
        seen = torch.einsum("k,nkg->ng", share, anomalies)
        for corner in range(index.shape[1]):
            images[:, mine] += seen[:, index[mine, corner]] * weight[mine, corner].float()
    departures = images[size.days :]
    departures += math.sqrt(_VARIANCE) * normal(*departures.shape)
    anomalies, images = anomalies[: size.days], images[: size.days]
    anomalies -= anomalies.mean(dim=0)
    images -= images.mean(dim=0)
    silent = torch.full((size.reports,), size.silent)
    observed = ObservedPoints(latitude, longitude, kind, silent)
    variance = torch.full((size.reports,), _VARIANCE)
    return SyntheticCase(anomalies, images, variance, departures, observed)


def seam_ratio(increments: Tensor, domains: Domains) -> float:
    """Compare the roughness of increments across the borders of domains with that inside.

    Roughness is the root mean square of the second difference along each row, relative to that of
    the row. A point belongs to the domain with the largest share in it; a difference is across a
    border where its three points belong to several domains.

    Args:
        increments: `(J, K, h, w)` on the grid of the domains.
        domains: The domains.
    """
    rows, columns = increments.shape[-2:]
    owner = torch.full((rows * columns,), -1)
    largest = torch.zeros(rows * columns)
    for number, (points, shares) in enumerate(zip(domains.points, domains.shares, strict=True)):
        more = points[shares > largest[points]]
        largest[points] = torch.maximum(largest[points], shares)
        owner[more] = number
    owner = owner.reshape(rows, columns)
    across = (owner.roll(1, 1) != owner) | (owner.roll(-1, 1) != owner)
    second = increments.roll(1, -1) - 2 * increments + increments.roll(-1, -1)
    second = second.square().mean(dim=(0, 1))
    second = second / second.mean(dim=1, keepdim=True)
    latitude = 90 - 180 * (torch.arange(rows) + 0.5) / rows
    used = (latitude.abs() < _SEAM_LATITUDE)[:, None].expand_as(across)
    return float((second[used & across].mean() / second[used & ~across].mean()).sqrt())


def _grid(rows: int, columns: int) -> LatLonGrid:
    """Return a grid of cell centres."""
    latitude = 90 - 180 * (torch.arange(rows, dtype=torch.float64) + 0.5) / rows
    return LatLonGrid(latitude, 360 * torch.arange(columns, dtype=torch.float64) / columns)


def _averaged(case: SyntheticCase, grid: LatLonGrid) -> SyntheticCase:
    """Average the reports of one kind in the cells of a grid."""
    observed = case.observed
    cells = grid.shape[0] * grid.shape[1]
    names = observed.kind * cells + grid.cell(observed.latitude, observed.longitude)
    found, place = names.unique(return_inverse=True)
    number = torch.bincount(place).float()

    def mean(values: Tensor) -> Tensor:
        total = values.new_zeros(*values.shape[:-1], len(found))
        return total.index_add_(-1, place, values) / number.to(values)

    latitude, longitude = (x[found % cells] for x in grid.points)
    kind = found // cells
    points = ObservedPoints(latitude, longitude, kind, torch.zeros(len(found)).bool())
    variance = mean(case.variance) * (_COMMON + (1 - _COMMON) / number)
    return SyntheticCase(
        case.anomalies, mean(case.images), variance, mean(case.innovations), points
    )


def main(words: str) -> None:
    """Solve the case of a JSON text, and print its cost as JSON."""
    size = CaseSize(**json.loads(words))
    torch.set_num_threads(size.threads)
    print(json.dumps(asdict(solve_case(size))))


if __name__ == "__main__":
    main(sys.argv[1])
