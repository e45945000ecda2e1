"""What a test reads out of a figure: its traces, legend and notes; and bands to draw.

assert legend(fig) == ["FGSM on the kernel"]
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore import figures
from ntkcore.figures.drawing.template import DECORATION


def band(*mean: float, reach: float = 0.05) -> figures.Band:
    mean = np.array(mean, dtype=float)
    return figures.Band(mean, mean - reach, mean + reach)


def lines(fig: go.Figure) -> dict[str, go.Scatter]:
    """Traces that show data, without bands and legend entries, by their names."""
    return {t.name: t for t in fig.data if t.meta != DECORATION and t.hoverinfo != "skip"}


def legend(fig: go.Figure) -> list[str]:
    return [trace.name for trace in fig.data if trace.showlegend is not False]


def notes(fig: go.Figure) -> list[str]:
    return [annotation.text for annotation in fig.layout.annotations]
