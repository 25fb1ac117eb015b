"""Units as archives and users spell them, and what their conversion must be."""

from __future__ import annotations

import pytest

from data_modules.sources.canonical.units import Unit, conversion, level_factor, same_units

PER_DAY = 1.0 / 86400.0


@pytest.mark.parametrize(
    ("target", "factor", "offset", "amount", "spellings"),
    [
        ("K", 1.0, 0.0, False, "K, degK, Kelvin, degrees K, Degrees_K, deg_K"),
        ("K", 1.0, 273.15, False, "degC, deg_C, deg C, degrees_Celsius, Celsius, celsius, C, °C"),
        ("K", 5 / 9, 459.67 * 5 / 9, False, "degF, deg_F"),
        ("W m-2", 1.0, 0.0, False, "W m-2, watts/m^2, W/m**2, Watt m-2, W m**-2, W/m2, W m^-2"),
        ("W m-2", PER_DAY, 0.0, True, "J m-2, J m**-2, J/m^2, joules/m2"),
        ("mm day-1", 1.0, 0.0, False, "mm day-1, mm d-1, mm/day, kg m-2 day-1"),
        ("mm day-1", 1.0, 0.0, True, "mm, kg m-2, kg m**-2, kg/m^2"),
        ("mm day-1", 1000.0, 0.0, True, "m, m of water equivalent"),
        ("mm day-1", 86400.0, 0.0, False, "kg m-2 s-1, kg/m2/s, kg m**-2 s**-1, mm/s"),
        ("mm day-1", 24.0, 0.0, False, "mm hr-1, mm/h, mm h-1, mm/hour"),
        ("Pa", 1.0, 0.0, False, "Pa, Pascals, pascal"),
        ("Pa", 100.0, 0.0, False, "hPa, mb, mbar, millibars, Millibars, hpa"),
        ("m s-1", 1.0, 0.0, False, "m s-1, m/s, m s**-1, m/sec, meter second-1"),
        ("m s-1", 1852 / 3600, 0.0, False, "knots, kt, Knots"),
        ("kg kg-1", 1.0, 0.0, False, "kg kg-1, kg kg**-1, kg/kg, 1"),
        ("kg kg-1", 1e-3, 0.0, False, "g/kg, grams/kg, g kg**-1"),
    ],
)
def test_spellings_of_a_unit_convert_alike(target, factor, offset, amount, spellings):
    for spelling in spellings.split(", "):
        found = conversion(spelling, target)
        assert found is not None, spelling
        assert found.amount == amount, spelling
        assert (found.factor, found.offset) == pytest.approx((factor, offset), rel=1e-12), spelling


@pytest.mark.parametrize("target", ["K", "mm day-1", "W m-2", "Pa", "m s-1", "kg kg-1"])
def test_canonical_units_are_left_exactly_as_they_are(target):
    assert conversion(target, target) == Unit()


@pytest.mark.parametrize(
    ("target", "spelling"),
    [
        ("K", "K day-1"),  # a heating rate
        ("K", "degrees"),  # of an angle
        ("K", "delta_degC"),
        ("K", "W m-2"),
        ("W m-2", "W m-2 sr-1"),  # a radiance: pint has no dimension of a solid angle
        ("W m-2", "W m-2 um-1"),
        ("mm day-1", "0.1 mm"),  # a number in front may already be in the values
        ("mm day-1", "mm/3h"),
        ("mm day-1", "%"),
        ("kg kg-1", "%"),
        ("kg kg-1", "kg m-3"),
        ("m s-1", "ms-1"),  # per millisecond
        ("m s-1", "Pa s-1"),  # a vertical velocity in pressure
        ("Pa", "1"),
        ("Pa", "mB"),
        ("Pa", "unknown"),
        ("Pa", "9**9**9**9"),  # not worked out
        ("Pa", "(((("),
        ("Pa", "Pa " * 30),
    ],
)
def test_other_quantities_are_no_units_of_it(target, spelling):
    assert conversion(spelling, target) is None


def test_levels_are_pressures_of_any_spelling():
    for units, factor in (("hPa", 1), ("", 1), ("millibars", 1), ("mb", 1), ("Pa", 0.01)):
        assert level_factor(units) == factor
    assert [level_factor(units) for units in ("level", "m", "K", "1")] == [None] * 4


def test_spellings_are_compared_as_units():
    assert same_units("m s**-1", "m/s")
    assert same_units(None, None)
    assert not same_units("mm", "m")
    assert not same_units("K", None)
    assert not same_units("nonsense", "other nonsense")
