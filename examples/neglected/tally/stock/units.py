"""Units of measure; everything is counted in whole base units."""

from typing import Dict

FACTORS: Dict[str, int] = dict(g=1, kg=1000, mm=1, m=1000, piece=1, dozen=12)


def convert(quantity: float, unit: str) -> int:
    """Quantity in base units, rounded to the nearest whole one."""
    if not unit in FACTORS:
        raise ValueError(f"unknown unit: {unit}")
    return round(quantity * FACTORS[unit])
