"""Numbers in the words of a sentence, with their intervals.

::

    percent(0.793)                              # "79.3 %"
    percent_within(0.793, 0.71, 0.85)           # "79.3 % [71, 85]"
    within(0.67, 0.61, 0.722, ".2f")            # "0.67 [0.61, 0.72]"
"""


def percent(share: float) -> str:
    """A share of 1 in per cent, with one digit unless it is a whole number."""
    return f"{_short(100 * share)} %"


def percent_within(share: float, low: float, high: float) -> str:
    """A share in per cent with its interval, all with one digit unless they are whole numbers."""
    return f"{percent(share)} [{_short(100 * low)}, {_short(100 * high)}]"


def within(value: float, low: float, high: float, number: str) -> str:
    """A value with its interval, all in the format ``number``."""
    return f"{value:{number}} [{low:{number}}, {high:{number}}]"


def _short(value: float) -> str:
    value = round(value, 1) + 0.0  # no minus before a zero
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
