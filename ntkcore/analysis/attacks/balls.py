"""The balls that attacks stay in, and how their radii are written.

::

    BALLS["linf"].unit                          # 255.0: grey levels
    in_pixels(8 / 255)                          # "8/255"
    radii_up_to(0.2, "linf", 8 / 255)           # [0.0, 1 / 255, ..., 16 / 255, 20 / 255, ..., 0.2]
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


def radii_up_to(largest: float, norm: Norm = "linf", own: float = 0.0, near: int = 16) -> list[float]:
    """Radii to look at one image, ascending from 0 to the larger of ``largest`` and ``own``, both among them.

    ``near`` even steps to where most images turn (linf: 16 grey levels; l2: two fifths of the largest), and from there
    on steps four times as long, longer where more than 12 of them would be needed.
    """
    unit, end = BALLS[norm].unit, max(largest, own)
    step = (16.0 if norm == "linf" else 0.4 * end) / near  # in units of the norm
    reach = end * unit
    stride = max(4 * step, (reach - near * step) / 12)
    far = [near * step + i * stride for i in range(1, 13)]
    steps = [radius / unit for radius in (*(i * step for i in range(near + 1)), *far) if radius < reach - 1e-6]
    return sorted({own, end, *(radius for radius in steps if abs(radius - own) > 1e-9)})
