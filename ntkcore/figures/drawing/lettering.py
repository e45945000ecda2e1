"""Words large enough for the back row.

::

    legible(fig)                                         # no text of the figure's frame is smaller than SMALLEST
"""

import plotly.graph_objects as go

SMALLEST, LARGE = 14, 16  # pixels


def legible(fig: go.Figure) -> go.Figure:
    """Ticks, legend and hover at SMALLEST, titles of axes at LARGE. Returns the figure."""
    fig.update_layout(font_size=SMALLEST, legend_font_size=SMALLEST, hoverlabel_font_size=SMALLEST)
    for update in (fig.update_xaxes, fig.update_yaxes):
        update(tickfont_size=SMALLEST, title_font_size=LARGE)
    return fig
