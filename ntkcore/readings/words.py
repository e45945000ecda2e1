"""Numbers in the words of a sentence, with their intervals.

::

    signed(-0.5, "+.2f")                        # "−0.50", with the minus sign that figures' axes have
    percent(0.793)                              # "79.3 %"
    percent_within(0.793, 0.71, 0.85)           # "79.3 % [71, 85]"
    within(0.67, 0.61, 0.722, ".2f")            # "0.67 [0.61, 0.72]"
    span(4, 8)                                  # "4–7"
    p_words(0.0213)                             # "p = 0.021"
    radius(0.05)                                # "12.75/255"
"""

from ntkcore.analysis.attacks.balls import BALLS, Norm

MINUS = "\N{MINUS SIGN}"
SMALLEST_P = 1e-15  # below, a p-value is not told: its rounding errors are no smaller


def signed(value: float, form: str) -> str:
    """A number in this format, with a minus sign where it is below zero, and none before a zero."""
    sign, digits = (form[0], form[1:]) if form[0] in "+-" else ("", form)
    text = f"{value:{sign}z{digits}}"
    return f"{MINUS}{text[1:]}" if text[0] == "-" else text


def percent(share: float) -> str:
    """A share of 1 in per cent, with one digit unless it is a whole number."""
    return f"{_short(100 * share)} %"


def percent_within(share: float, low: float, high: float) -> str:
    """A share in per cent with its interval, all with one digit unless they are whole numbers."""
    return f"{percent(share)} [{_short(100 * low)}, {_short(100 * high)}]"


def points(difference: float) -> str:
    """A difference of two shares in per cent points: "1 point", "2.5 points"."""
    text = _short(100 * difference)
    return f"{text} point{'' if text in ('1', f'{MINUS}1') else 's'}"


def points_within(difference: float, low: float, high: float) -> str:
    """A difference of two shares in points, with its interval."""
    return f"{points(difference)} [{_short(100 * low)}, {_short(100 * high)}]"


def points_lost(difference: float, low: float, high: float) -> str:
    """What an accuracy falls by, with its interval: "10.1 points [4.2, 16] less", or, where it rises, how much more."""
    if difference < 0:
        return f"{points_within(-difference, -high, -low)} more"
    return f"{points_within(difference, low, high)} less"


def within(value: float, low: float, high: float, form: str) -> str:
    """A value with its interval, all in one format."""
    return "{} [{}, {}]".format(*(signed(one, form) for one in (value, low, high)))


def radius(eps: float, norm: Norm = "linf") -> str:
    """A radius in pixel units: of the linf ball in 255ths."""
    return BALLS[norm].in_units(f"{BALLS[norm].unit * eps:.4g}")


def radius_found(eps: float, norm: Norm = "linf") -> str:
    """A radius that was searched for, to a hundredth of a grey level or of the unit of l2: "3.21/255"."""
    unit = BALLS[norm].unit
    return radius(round(unit * eps, 2) / unit, norm) if unit * eps >= 0.005 else f"below {radius(0.01 / unit, norm)}"


def span(start: int, stop: int) -> str:
    """Indices from start to before stop."""
    return f"{start}" if stop - start == 1 else f"{start}–{stop - 1}"


def p_words(p: float) -> str:
    """A p-value with two digits."""
    return f"p = {p:.2g}" if p >= SMALLEST_P else f"p < {SMALLEST_P:.0e}"


def _short(value: float) -> str:
    value = round(float(value), 1)  # as formats round, which numpy does not
    return signed(value, ".0f" if value == round(value) else ".1f")
