"""Lines with an interval around them: how they are checked and drawn, and how an alt text says them.

A band is shaded from its low to its high end (``ntkcore.analysis.intervals``); along few points it is drawn as error
bars instead. NaN is a value that is not computed yet, and not drawn::

    band = Band(mean=accuracy.mean(0), low=accuracy.min(0), high=accuracy.max(0))       # three [P]
    bands = known_bands({"kernel_fgsm": band}, "accuracy", length=P, allowed=SOURCES)    # checked, or DataError
    add_band(fig, x, band, SOURCES["kernel_fgsm"], dark, hover="ε = %{x:.3g}<br>%{y:.1%} right")
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.intervals import Band
from ntkcore.errors import DataError
from ntkcore.figures.drawing.checks import float32, vector
from ntkcore.figures.drawing.palette import Meaning, faint
from ntkcore.figures.drawing.template import DECORATION, Place, plain

Key = TypeVar("Key", bound=str)

MISSING = "not computed yet"


def known_band(band: Band, name: str, length: int) -> Band:
    """The band as float64 vectors of ``length``; a missing bound becomes the mean itself."""
    mean = vector(band.mean, f"mean of {name}", length)
    bounds = (vector(getattr(band, side), f"{side} of {name}", length) for side in ("low", "high"))
    low, high = (np.where(np.isfinite(bound), bound, mean) for bound in bounds)
    if (low > mean + 1e-6).any() or (high < mean - 1e-6).any():
        raise DataError(f"{name} has a mean outside of its band; hand in low <= mean <= high.")
    return Band(mean, low, high)


def known_bands(bands: Mapping[Key, Band], name: str, length: int, allowed: Sequence[Key]) -> dict[Key, Band]:
    """Bands in the order of ``allowed``, which names all keys there may be; those without any value are left out."""
    unknown = sorted(set(bands) - set(allowed))
    if unknown:
        raise DataError(f"{name} is keyed by {unknown}; use some of {', '.join(allowed)}.")
    checked = {key: known_band(bands[key], f"{name} by {key}", length) for key in allowed if key in bands}
    return {key: band for key, band in checked.items() if band.known.any()}


def add_band(
    fig: go.Figure,
    x: np.ndarray,
    band: Band,
    meaning: Meaning,
    dark: bool,
    *,
    hover: str,
    name: str | None = None,
    digits: str = ".1%",
    bars: bool = False,
    index: np.ndarray | None = None,
    of: str = "",
    **place: Unpack[Place],
) -> None:
    """Draw one line with its shaded band, or with error ``bars``; no legend entry, all in the group of its words.

    Args:
        x: ``[P]`` positions.
        hover: template of what is said of a point; its bounds are added.
        name: of the series in tables, the meaning's words by default.
        digits: format of the bounds in the hover text.
        index: ``[P]`` true positions, where ``x`` is shifted to fit on the axis.
        of: what the bounds are, for the hover text, e.g. "95 %:".
        place: ``row`` and ``col`` in a figure of panels.
    """
    keep, colour, name = band.known, meaning.colour(dark), name or meaning.words
    x, mean, low, high = x[keep], band.mean[keep], band.low[keep], band.high[keep]
    group = {"legendgroup": meaning.words, "showlegend": False}
    spread, customdata = bool((high > low).any()), None if index is None else index[keep]
    traces = []  # each made in one call: plotly checks every property that is set later on its own
    if spread and not bars:
        for side, bound, fill in (("highest", high, None), ("lowest", low, "tonexty")):
            edge = {"name": f"{name}, {side}", "line": {"width": 0, "color": colour}, "customdata": customdata}
            edge |= {"fill": fill, "fillcolor": faint(colour), "mode": "lines", "hoverinfo": "skip"}
            traces.append(go.Scatter(x=float32(x), y=float32(bound), **edge, **group))
    of = f"{of} " if of else ""
    reach = [f"<br>{of}{a:{digits}} to {b:{digits}}" if b > a else "" for a, b in zip(low, high, strict=True)]
    line: dict[str, Any] = {"line": {"color": colour, "dash": meaning.dash, "width": 2}, "mode": "lines+markers"}
    line |= {"name": name}
    line |= {"marker": {"symbol": meaning.symbol, "size": 7, "color": colour}, "customdata": customdata}
    if spread and bars:
        edges = {"array": float32(high - mean), "arrayminus": float32(mean - low), "symmetric": False}
        line["error_y"] = edges | {"thickness": 1.2, "width": 3, "color": colour}
    line |= {"text": reach, "hovertemplate": f"{hover}%{{text}}<extra></extra>"}
    traces.append(go.Scatter(x=float32(x), y=float32(mean), **line, **group))
    for trace in traces:
        fig.add_trace(trace, **place)


def marker_sizes(at: np.ndarray, marks: int = 9, size: int = 7) -> int | np.ndarray:
    """Sizes of the markers of a line: all of a short line, else about ``marks`` of them, evenly along ``at``."""
    if at.size <= 2 * marks:
        return size
    sizes = np.zeros(at.size, dtype=np.int8)
    sizes[[int(np.abs(at - place).argmin()) for place in np.linspace(at[0], at[-1], marks)]] = size
    return sizes


def note_missing(fig: go.Figure, number: int) -> None:
    """Words in the middle of the panel with axes ``x<number>``, ``y<number>`` that has nothing to show."""
    axis = number if number > 1 else ""
    middle = {"x": 0.5, "y": 0.5, "xref": f"x{axis} domain", "yref": f"y{axis} domain"}
    fig.add_annotation(text=MISSING, **middle)
    nothing = go.Scatter(x=[None], y=[None], xaxis=f"x{axis}", yaxis=f"y{axis}", showlegend=False)
    fig.add_trace(nothing.update(hoverinfo="skip", meta=DECORATION))  # axes without any trace are not drawn


def from_to(words: str, x: np.ndarray, y: np.ndarray, number: str | Callable[[float], str], at: str) -> str:
    """``"cosine 0.61 at width 32, 0.97 at width 4096"``: the first and the last value that are there.

    number: a format, or what makes words of a value, such as ``percent``.
    """
    first, *others = np.flatnonzero(np.isfinite(y))
    in_words = number if callable(number) else lambda value: f"{value:{number}}"
    return f"{words} " + ", ".join(f"{in_words(y[k])} at {at} {x[k]:.0f}" for k in [first, *others[-1:]])


def few(parts: Iterable[str], most: int) -> str:
    """Parts of an alt text, at most so many of them: the first, the last and some in between."""
    parts = [plain(part) for part in parts]
    kept = sorted(set(np.rint(np.linspace(0, len(parts) - 1, min(most, len(parts)))).astype(int).tolist()))
    rest = [f"and {len(parts) - len(kept)} more"] if len(parts) > len(kept) else []
    return "; ".join([parts[k] for k in kept] + rest) or MISSING
