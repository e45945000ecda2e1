"""Numbers as sentences have them."""

import pytest

from ntkcore.analysis.words import percent, percent_within, within


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (percent(0.793), "79.3 %"),
        (percent(0.8), "80 %"),
        (percent(-0.0004), "0 %"),
        (percent(0.9996), "100 %"),
        (percent_within(0.793, 0.71, 0.8549), "79.3 % [71, 85.5]"),
        (within(0.67, 0.612, 0.7249, ".2f"), "0.67 [0.61, 0.72]"),
        (within(-12, -15.2, 3, "+.1f"), "-12.0 [-15.2, +3.0]"),
    ],
)
def test_numbers_in_words(words: str, expected: str) -> None:
    assert words == expected
