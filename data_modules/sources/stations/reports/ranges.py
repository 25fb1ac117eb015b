"""Values that a variable can have."""

from __future__ import annotations

__all__ = ["RANGES"]

# The records of the World Meteorological Organization plus a margin (K, mm, W m-2, m s-1, kg kg-1,
# Pa).
RANGES = {
    "temperature": (150.0, 333.15),
    "2m_temperature": (180.0, 335.0),
    "total_precipitation_24hr": (0.0, 1850.0),
    "outgoing_longwave_radiation": (50.0, 450.0),
    "u_component_of_wind": (-150.0, 150.0),
    "v_component_of_wind": (-150.0, 150.0),
    "specific_humidity": (0.0, 0.05),
    "surface_pressure": (4e4, 1.1e5),
}
