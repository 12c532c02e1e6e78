"""How sure a number is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

Z_95 = 1.959963984540054  # two-sided 95 % point of the normal distribution


@dataclass(frozen=True)
class Estimate:
    """A measured number and its 95 % interval."""

    value: float
    interval_95: tuple[float, float]


def percentile_interval(resampled: Float64[np.ndarray, " R"]) -> tuple[float, float]:
    """The bootstrap's 95 % percentile interval: the middle 95 % of R resampled values, of which NaN are left out."""
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a success rate; it stays inside [0, 1] and is honest at the ends.

    Raises:
        ValueError: `trials` is not positive or `successes` exceeds it.

    Source: Wilson, J. Am. Stat. Assoc. 22 (1927).
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials")
    rate, z2 = successes / trials, Z_95**2
    centre = rate + z2 / (2 * trials)
    spread = Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    low = 0.0 if successes == 0 else (centre - spread) / scale  # exactly, without rounding
    high = 1.0 if successes == trials else (centre + spread) / scale
    return low, high
