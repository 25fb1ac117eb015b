"""The orbit against what is known of real satellites, and its passes against brute force."""

from __future__ import annotations

import math

import pytest
import torch

from slams.errors import UserError
from slams.grid import EARTH_RADIUS_KM, unit_vectors
from slams.observations.orbit import DAY_SECONDS, Orbit

# Landsat, Terra and Aqua: 233 revolutions in 16 days.
LANDSAT = Orbit(16, 233, 10.0, 2330.0)
# A low orbit of low inclination, as TRMM's, which the sun does not follow.
INCLINED = Orbit(46, 725, 0.0, 800.0, inclination=35.0)
DAY = 18262.0


def turn(degrees: torch.Tensor) -> torch.Tensor:
    return (torch.remainder(degrees + 180, 360) - 180).abs()


def altitude(orbit: Orbit) -> float:
    """Return the height above the equator (km) of the Keplerian orbit with this period."""
    return (398600.4418 * (orbit.period / (2 * math.pi)) ** 2) ** (1 / 3) - 6378.137


def ground_track(orbit: Orbit, time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latitude and longitude (degrees, in [-180, 180)) below the satellite."""
    u = 2 * math.pi * torch.remainder(time * DAY_SECONDS / orbit.period, 1.0)
    turns = torch.remainder(time * orbit.repeat_days / orbit.repeat, 1.0)  # in nodal days
    i = orbit.inclination_radians
    latitude = torch.asin((math.sin(i) * torch.sin(u)).clamp(-1, 1))
    east = torch.rad2deg(torch.atan2(math.cos(i) * torch.sin(u), torch.cos(u)))
    longitude = 15 * orbit.crossing_time - 360 * turns + east
    return torch.rad2deg(latitude), torch.remainder(longitude + 180, 360) - 180


def test_the_numbers_of_landsat():
    assert altitude(LANDSAT) == pytest.approx(705.0, abs=1.0)
    assert math.degrees(LANDSAT.inclination_radians) == pytest.approx(98.2, abs=0.02)
    assert LANDSAT.period / 60 == pytest.approx(98.9, abs=0.05)
    assert LANDSAT.repeat == pytest.approx(16.0, abs=1e-12)
    # Its node turns once a year, eastwards.
    assert math.degrees(LANDSAT.precession) * DAY_SECONDS == pytest.approx(0.98565, abs=1e-5)


def test_other_real_orbits():
    # Metop: 412 revolutions in 29 days, 817 km and 98.7 degrees; Sentinel-3: 385 in 27, 98.65.
    metop, sentinel = Orbit(29, 412, 9.5, 1000.0), Orbit(27, 385, 10.0, 1000.0)
    assert altitude(metop) == pytest.approx(817, abs=15)
    assert math.degrees(metop.inclination_radians) == pytest.approx(98.7, abs=0.1)
    assert altitude(sentinel) == pytest.approx(814, abs=15)
    assert math.degrees(sentinel.inclination_radians) == pytest.approx(98.65, abs=0.05)


@pytest.mark.parametrize("orbit", [LANDSAT, INCLINED])
def test_the_track_repeats_after_its_cycle_and_not_before(orbit):
    time = DAY + torch.linspace(0, 1, 1001, dtype=torch.float64)
    now, later = ground_track(orbit, time), ground_track(orbit, time + orbit.repeat)
    assert float((now[0] - later[0]).abs().max()) < 1e-6
    assert float(turn(now[1] - later[1]).max()) < 1e-6
    nodal_day = orbit.repeat / orbit.repeat_days
    for days in range(1, orbit.repeat_days):
        other = ground_track(orbit, time + days * nodal_day)
        assert float((now[0] - other[0]).abs().max()) > 1.0, days


def test_the_cycle_of_an_inclined_orbit_is_no_number_of_days():
    assert abs(INCLINED.repeat - round(INCLINED.repeat)) > 0.01
    # Retrograde precession of some seven degrees a day.
    assert math.degrees(INCLINED.precession) * DAY_SECONDS == pytest.approx(-7.2, abs=0.3)


@pytest.mark.parametrize("orbit", [LANDSAT, INCLINED])
def test_inclination_bounds_the_latitude(orbit):
    time = DAY + torch.linspace(0, 3, 100_001, dtype=torch.float64)
    latitude, _ = ground_track(orbit, time)
    bound = math.degrees(orbit.inclination_radians)
    bound = min(bound, 180 - bound)
    assert float(latitude.max()) == pytest.approx(bound, abs=1e-3)
    assert float(latitude.min()) == pytest.approx(-bound, abs=1e-3)


def crossings(orbit: Orbit, first: float, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return time and longitude of northward crossings of the equator."""
    turns = math.ceil(first * DAY_SECONDS / orbit.period) + torch.arange(count)
    time = turns.to(torch.float64) * orbit.period / DAY_SECONDS
    latitude, longitude = ground_track(orbit, time)
    assert float(latitude.abs().max()) < 1e-5
    north, _ = ground_track(orbit, time + 1e-3)
    assert bool((north > 0).all())
    return time, longitude


def test_every_crossing_of_a_sun_synchronous_orbit_has_the_same_local_time():
    for first in (DAY, DAY + 180, DAY + 3000):
        time, longitude = crossings(LANDSAT, first, 50)
        local = torch.remainder(24 * (time - torch.floor(time)) + longitude / 15, 24)
        torch.testing.assert_close(local, torch.full_like(local, 10.0), atol=1e-5, rtol=0)


def test_the_local_time_of_an_inclined_orbit_drifts():
    time, longitude = crossings(INCLINED, DAY, 100)
    local = torch.remainder(24 * (time - torch.floor(time)) + longitude / 15, 24)
    drift = torch.remainder(local[1:] - local[:-1] + 12, 24) - 12
    expected = math.degrees(INCLINED.precession) * DAY_SECONDS - 360 / 365.24219
    per_day = drift.mean() / (INCLINED.period / DAY_SECONDS) * 15
    assert float(per_day) == pytest.approx(expected, abs=1e-3)


def brute_force(orbit: Orbit, latitude, longitude, day: float) -> torch.Tensor:
    """Find what a swath sees by walking along the track in steps of some 7 km."""
    time = day + (torch.arange(86_400, dtype=torch.float64) + 0.5) / 86_400
    track = unit_vectors(*ground_track(orbit, time))
    points = unit_vectors(latitude, longitude)
    closest = torch.stack([(points @ part.T).max(dim=1).values for part in track.split(8640)])
    return EARTH_RADIUS_KM * torch.acos(closest.max(dim=0).values.clamp(max=1))


@pytest.mark.parametrize("orbit", [LANDSAT, INCLINED])
def test_passes_agree_with_a_walk_along_the_track(orbit):
    generator = torch.Generator().manual_seed(1)
    latitude = torch.rad2deg(torch.asin(2 * torch.rand(600, generator=generator).double() - 1))
    latitude[:150] /= 30  # where ascending and descending passes are half a revolution apart
    longitude = 360 * torch.rand(600, generator=generator).double()
    narrow = Orbit(orbit.repeat_days, orbit.revolutions, 3.0, 700.0, orbit.inclination)
    distance = brute_force(narrow, latitude, longitude, DAY)
    seen = narrow.passes(latitude, longitude, DAY).seen.any(dim=0)
    # Within a step of the rim, and at the ends of the day, the walk cannot tell.
    clear = (distance - 350).abs() > 8
    near = distance < 350
    wrong = (seen != near) & clear
    assert int(wrong.sum()) <= 2
    assert 0.2 < float(seen.double().mean()) < 0.95


def test_a_point_below_the_satellite_is_seen_at_that_time():
    time = DAY + torch.tensor([0.05, 0.3, 0.31, 0.62, 0.97], dtype=torch.float64)
    latitude, longitude = ground_track(LANDSAT, time)
    passes = LANDSAT.passes(latitude, longitude, DAY + 0.4)
    for point, when in enumerate(time):
        nearest = (passes.time[:, point] - when).abs().nan_to_num(nan=9.0).argmin()
        assert float(passes.time[nearest, point]) == pytest.approx(float(when), abs=1e-7)
        assert float(passes.across[nearest, point]) == pytest.approx(0.0, abs=1e-2)


def test_each_pass_belongs_to_one_day():
    latitude = torch.linspace(-89, 89, 60, dtype=torch.float64)
    longitude = torch.linspace(0, 353, 60, dtype=torch.float64)
    times = torch.cat([LANDSAT.passes(latitude, longitude, DAY + d).time for d in range(3)])
    for day in range(3):
        inside = (times >= DAY + day) & (times < DAY + day + 1)
        own = LANDSAT.passes(latitude, longitude, DAY + day).seen
        assert int(inside.sum()) == int(own.sum())
    # No pass is counted twice: two passes of one point lie an hour and more apart.
    for point in range(60):
        mine = times[:, point]
        gaps = mine[mine.isfinite()].sort().values.diff()
        assert float(gaps.min()) > 0.9 * LANDSAT.period / DAY_SECONDS / 2


def test_coverage_grows_with_latitude_and_with_the_swath():
    longitude = torch.linspace(0, 359.9, 720, dtype=torch.float64)

    def passes(orbit: Orbit, latitude: float) -> torch.Tensor:
        counts = [
            orbit.passes(torch.full_like(longitude, latitude), longitude, DAY + d).seen.sum(dim=0)
            for d in range(4)
        ]
        return torch.stack(counts).double()

    def covered(orbit: Orbit, latitude: float) -> float:
        return float((passes(orbit, latitude) > 0).double().mean())

    narrow, wide = (Orbit(16, 233, 10.0, width) for width in (185.0, 740.0))
    # At the equator each of the 2 x 14.56 passes covers its width over the sine of its slope.
    slope = math.atan2(
        math.sin(narrow.inclination_radians),
        math.cos(narrow.inclination_radians) - narrow.period / DAY_SECONDS,
    )
    around = 2 * math.pi * EARTH_RADIUS_KM
    for orbit in (narrow, wide):
        expected = 2 * 233 / 16 * orbit.swath_km / math.sin(slope) / around
        assert float(passes(orbit, 0.0).mean()) == pytest.approx(expected, rel=0.02)
    assert covered(narrow, 0.0) < covered(narrow, 60.0) < covered(narrow, 80.0)
    # Beyond the turning point nothing is seen but by the width of the swath.
    assert covered(narrow, 89.0) == 0.0
    assert covered(wide, 82.0) == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((16, 16, 10, 1000.0), r"between 2 and 17 per day"),
        ((0, 14, 10, 1000.0), r"between 2 and 17 per day"),
        ((32, 466, 10, 1000.0), r"repeats after 16 days already; write 233 in 16"),
        ((16, 233, 10, 0.0), r"swath of 0 km"),
        ((16, 233, 10, 25_000.0), r"swath of 25000 km"),
        ((16, 233, 10, 1000.0, 180.0), r"inclination of the orbit is 180"),
    ],
)
def test_what_is_no_orbit_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        Orbit(*values)


def test_too_high_for_the_sun_is_refused():
    with pytest.raises(UserError, match=r"too high to be sun-synchronous"):
        _ = Orbit(1, 5, 10.0, 1000.0).inclination_radians


def test_the_passes_of_steps_are_those_of_the_day() -> None:
    latitude = torch.linspace(-80, 80, 9, dtype=torch.float64)
    longitude = torch.linspace(0, 320, 9, dtype=torch.float64)
    day = LANDSAT.passes(latitude, longitude, DAY)
    steps = [LANDSAT.passes(latitude, longitude, DAY + n / 4 + 0.1, step=0.25) for n in range(4)]
    for number, one in enumerate(steps):
        times = one.time[one.seen]
        assert ((times >= DAY + number / 4) & (times < DAY + (number + 1) / 4)).all()
    found = torch.cat([one.time[one.seen] for one in steps]).sort().values
    torch.testing.assert_close(found, day.time[day.seen].sort().values, rtol=0, atol=1e-6)
