"""Numbers in the words of a sentence, with their intervals.

::

    percent(0.793)                              # "79.3 %"
    percent_within(0.793, 0.71, 0.85)           # "79.3 % [71, 85]"
    within(0.67, 0.61, 0.722, ".2f")            # "0.67 [0.61, 0.72]"
    span(4, 8)                                  # "4–7"
    p_words(0.0213)                             # "p = 0.021"
"""

SMALLEST_P = 1e-15  # below, a p-value is not told: its rounding errors are no smaller


def percent(share: float) -> str:
    """A share of 1 in per cent, with one digit unless it is a whole number."""
    return f"{_short(100 * share)} %"


def percent_within(share: float, low: float, high: float) -> str:
    """A share in per cent with its interval, all with one digit unless they are whole numbers."""
    return f"{percent(share)} [{_short(100 * low)}, {_short(100 * high)}]"


def within(value: float, low: float, high: float, number: str) -> str:
    """A value with its interval, all in the format ``number``."""
    return f"{value:{number}} [{low:{number}}, {high:{number}}]"


def span(start: int, stop: int) -> str:
    """Indices from start to before stop."""
    return f"{start}" if stop - start == 1 else f"{start}–{stop - 1}"


def p_words(p: float) -> str:
    """A p-value with two digits."""
    return f"p = {p:.2g}" if p >= SMALLEST_P else f"p < {SMALLEST_P:.0e}"


def _short(value: float) -> str:
    value = round(value, 1) + 0.0  # no minus before a zero
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
