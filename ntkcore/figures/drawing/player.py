"""A slider over the frames of a figure, and buttons that play them and stop.

::

    fig.frames = [go.Frame(name=str(i), data=traces(i), traces=[1, 2]) for i in range(len(steps))]
    add_player(fig, steps, at=3, prefix="radius ")
    fitting([40_000] * 50, at=3)          # which frames to send where all would be too much: 0, 3, 4, 8, ..., 49
"""

from collections.abc import Sequence

import plotly.graph_objects as go

MOST = 600_000  # bytes of frames, with which a figure stays below 1 MB
GRIP = "#8C8C8C"  # filled: no marker of a figure looks like it
TITLE = 18  # pixels that an axis's title takes


def in_figures(time: float) -> str:
    """A training time in two figures, for a step's name."""
    return f"{time:.0f}" if time >= 100 else f"{time:.2g}"


def fitting(sizes: Sequence[int], at: int) -> list[int]:
    """Numbers of the frames that are sent: all, or every second, fourth, ..., with the first, ``at`` and the last."""
    shown, stride = list(range(len(sizes))), 1
    while sum(sizes[i] for i in shown) > MOST and len(shown) > 3:
        stride *= 2
        shown = sorted({*range(0, len(sizes), stride), at, len(sizes) - 1})
    return shown


def add_player(fig: go.Figure, steps: Sequence[str], at: int, prefix: str, titled: bool = False) -> None:
    """The slider and its buttons under the plot: steps names the frames "0", "1", ... in words; it begins at ``at``.
    titled: there is an axis's title between."""
    down = TITLE if titled else 0
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}, "transition": {"duration": 0}}
    play = {"fromcurrent": False, "frame": {"duration": 350, "redraw": True}, "transition": {"duration": 0}}
    fig.update_layout(
        sliders=[
            {
                "active": at,
                "pad": {"t": 48 + down, "l": 90},
                "bgcolor": GRIP,
                "activebgcolor": GRIP,
                "bordercolor": GRIP,
                "font": {"size": 14},
                "currentvalue": {"prefix": prefix, "font": {"size": 18}},
                "steps": [
                    {"label": words, "method": "animate", "args": [[str(i)], still]} for i, words in enumerate(steps)
                ],
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "x": 0,
                "xanchor": "left",
                "y": 0,
                "yanchor": "top",
                "pad": {"t": 62 + down},
                "buttons": [
                    {"label": "▶", "method": "animate", "args": [None, play]},
                    {"label": "❚❚", "method": "animate", "args": [[None], still]},
                ],
            }
        ],
    )
