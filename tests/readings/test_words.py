"""Numbers as sentences have them."""

import numpy as np
import pytest

from ntkcore.readings.words import p_words, percent, percent_within, points, points_within, radius, span, within


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (percent(0.793), "79.3 %"),
        (percent(0.8), "80 %"),
        (percent(np.float64(0.5335)), f"{0.5335:.1%}".replace("%", " %")),
        (percent(-0.0004), "0 %"),
        (percent(0.9996), "100 %"),
        (percent_within(0.793, 0.71, 0.8549), "79.3 % [71, 85.5]"),
        (points(0.01), "1 point"),
        (points_within(0.101, 0.042, 0.16), "10.1 points [4.2, 16]"),
        (radius(0.05), "12.75/255"),
        (radius(8 / 255), "8/255"),
        (radius(0.5, "l2"), "0.5"),
        (within(0.67, 0.612, 0.7249, ".2f"), "0.67 [0.61, 0.72]"),
        (span(4, 8), "4–7"),
        (span(0, 1), "0"),
        (p_words(0.0213), "p = 0.021"),
        (p_words(1.0), "p = 1"),
        (p_words(0.0), "p < 1e-15"),
        (within(0.002, -0.001, 0.005, ".2f"), "0.00 [0.00, 0.01]"),
        (within(-12, -15.2, 3, "+.1f"), "−12.0 [−15.2, +3.0]"),
    ],
)
def test_numbers_in_words(words: str, expected: str) -> None:
    assert words == expected
