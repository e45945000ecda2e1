"""The balls that attacks stay in, and how their radii are written.

::

    BALLS["linf"].unit                          # 255.0: grey levels
    in_pixels(8 / 255)                          # "8/255"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Norm = Literal["linf", "l2"]


@dataclass(frozen=True)
class Ball:
    """How radii of a norm are written: its sign, how many of their units a pixel's range has, and the unit."""

    sign: str
    unit: float
    unit_in_words: str

    def in_units(self, value: str) -> str:
        """A number of units, as a radius: "8/255", or "1.5"."""
        return f"{value}/{self.unit:.0f}" if self.unit > 1 else value


BALLS: Mapping[Norm, Ball] = {
    "linf": Ball("ℓ∞", 255.0, "in 1/255"),  # grey levels
    "l2": Ball("ℓ2", 1.0, "ℓ2 norm"),  # of all pixels together
}


def in_pixels(size: float, norm: Norm = "linf") -> str:
    """A radius in words: linf in 255ths when that is a round number, else the plain number."""
    ball = BALLS[norm]
    levels = size * ball.unit
    if ball.unit > 1 and 0 < levels < 256 and abs(levels - round(levels)) < 1e-6:
        return ball.in_units(f"{round(levels)}")
    return f"{size:.3g}"
