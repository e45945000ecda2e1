"""Figures out of the app: a standalone page, a folder of pages that share plotly.js, a table of the data.

A page carries the figure, its title and its alt text as caption, and needs no network. The table is tidy: one
row for each drawn value, with the series it belongs to and the titles of its axes; decoration (rings, guides)
is left out::

    html = to_html(fig, "Spectrum")                                   # one string, plotly.js inlined
    files = directory_files({"Spectrum": fig, "Features": other})     # {"index.html": bytes, ...}
    text = to_csv(fig)                                                # to_frame(fig) is the pandas DataFrame
"""

import html
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ntkcore.errors import DataError
from ntkcore.figures.drawing.palette import MUTED, PAPER, TEXT
from ntkcore.figures.drawing.template import DECORATION, INDEX_TITLE, alt_text

PLOTLY_FILE = "plotly.min.js"


def chart_config(name: str, picture: str = "svg") -> dict:
    """Settings of the interactive chart: its camera button saves a ``picture`` (svg or png) called ``name``."""
    return {
        "displaylogo": False,
        "toImageButtonOptions": {"format": picture, "filename": slug(name), "scale": 1 if picture == "svg" else 3},
        "modeBarButtonsToRemove": ["zoomIn2d", "zoomOut2d", "autoScale2d"],
    }


def slug(name: str) -> str:
    """A file name out of words: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "figure"


def to_html(fig: go.Figure, title: str, *, plotlyjs: bool = True) -> str:
    """One figure as a page that opens without a network.

    ``plotlyjs=False`` leaves out the 5 MB of plotly.js and expects ``plotly.min.js`` beside the page.
    """
    body = _figure_block(fig, title, "h1", plotlyjs=plotlyjs, identity=slug(title))
    return _page(title, body, dark=_is_dark(fig))


def directory_files(figures: Mapping[str, go.Figure]) -> dict[str, bytes]:
    """Files of a folder with one page a figure, an index of them, and plotly.js once: name -> content.

    Args:
        figures: title -> figure. Titles must differ also as file names.
    """
    names = {title: slug(title) for title in figures}
    if len(set(names.values())) < len(names) or "index" in names.values():
        raise DataError(f"The titles {sorted(figures)} do not make distinct file names; choose other titles.")
    files = {PLOTLY_FILE: get_plotlyjs().encode()}
    items = []
    for title, fig in figures.items():
        files[f"{names[title]}.html"] = to_html(fig, title, plotlyjs=False).encode()
        items.append(f'<li><a href="{names[title]}.html">{html.escape(title)}</a><br>{html.escape(alt_text(fig))}</li>')
    dark = any(_is_dark(fig) for fig in figures.values())
    files["index.html"] = _page("Figures", f"<h1>Figures</h1><ul>{''.join(items)}</ul>", dark=dark).encode()
    return files


def to_frame(fig: go.Figure) -> pd.DataFrame:
    """The data of a figure as a tidy table.

    Columns, those without content left out: ``series``, ``x``, ``y``, ``value`` (of a heat map or picture),
    ``red``, ``green``, ``blue``, ``index`` (the dot's ``customdata``), ``x_axis``, ``y_axis``.
    """
    tables = [_trace_frame(fig, trace) for trace in fig.data if trace.meta != DECORATION]
    tables = [table for table in tables if table is not None]
    if not tables:
        return pd.DataFrame(columns=["series", "x", "y"])
    return pd.concat(tables, ignore_index=True)


def to_csv(fig: go.Figure) -> str:
    """``to_frame`` as CSV text."""
    return to_frame(fig).to_csv(index=False, lineterminator="\n")


def columns_csv(columns: Mapping[str, np.ndarray]) -> str:
    """Columns of one length as CSV text, the first one the row's index from 0."""
    return pd.DataFrame(dict(columns)).to_csv(index_label="index", lineterminator="\n")


def _trace_frame(fig: go.Figure, trace: go.Trace) -> pd.DataFrame | None:
    if isinstance(trace, go.Image):
        return None if trace.z is None else _picture_frame(trace)
    x, y = np.asarray(trace.x), np.asarray(trace.y)
    table = {"series": trace.name}
    if isinstance(trace, go.Heatmap):
        z = np.asarray(trace.z)
        x, y = (_centres(axis, cells) for axis, cells in ((trace.x, z.shape[1]), (trace.y, z.shape[0])))
        table |= {"x": np.tile(x, z.shape[0]), "y": np.repeat(y, z.shape[1]), "value": z.ravel()}
    else:
        across, up = (_axis_title(fig, trace, side) for side in ("x", "y"))
        if across == INDEX_TITLE and x.dtype.kind == "f":
            x = x - 1  # drawn at i + 1 to have a place on the log axis
        table |= {"x": x, "y": y}
        if trace.customdata is not None:
            table["index"] = np.asarray(trace.customdata)
        if isinstance(trace, go.Bar) and trace.text is not None:
            table["x"] = np.asarray(trace.text)
        table |= {"x_axis": across, "y_axis": up}
    return pd.DataFrame(table)


def _picture_frame(trace: go.Image) -> pd.DataFrame:
    z = np.asarray(trace.z)
    rows, columns = z.shape[:2]
    red, green, blue = z.reshape(-1, 3).T
    return pd.DataFrame(
        {
            "series": trace.name,
            "x": np.tile(np.arange(columns), rows),
            "y": np.repeat(np.arange(rows), columns),
            "red": red,
            "green": green,
            "blue": blue,
        }
    )


def _centres(edges: np.ndarray | None, cells: int) -> np.ndarray:
    if edges is None:
        return np.arange(cells)
    edges = np.asarray(edges)
    return (edges[:-1] + edges[1:]) / 2 if edges.size == cells + 1 else edges


def _axis_title(fig: go.Figure, trace: go.Trace, side: str) -> str:
    """The title of a trace's axis; of stacked panels only the lowest x axis carries one."""
    number = (getattr(trace, f"{side}axis") or side)[1:]
    title = fig.layout[f"{side}axis{number}"].title.text
    if title is None and side == "x":
        title = next((axis.title.text for axis in fig.select_xaxes() if axis.title.text), None)
    return re.sub(r"<[^>]+>", "", title or "")


def _is_dark(fig: go.Figure) -> bool:
    return bool((fig.layout.meta or {}).get("dark", False))


def _figure_block(fig: go.Figure, title: str, heading: str, *, plotlyjs: bool, identity: str) -> str:
    width = f' style="max-width:{fig.layout.width}px"' if fig.layout.width else ""
    chart = (
        go.Figure(fig)
        .update_layout(width=None)
        .to_html(
            full_html=False,
            include_plotlyjs=True if plotlyjs else "directory",
            div_id=identity,
            config=chart_config(title) | {"responsive": True},
        )
    )
    alt = html.escape(alt_text(fig), quote=True)
    return (
        f'<{heading}>{html.escape(title)}</{heading}><figure role="figure" aria-label="{alt}"{width}>{chart}'
        f"<figcaption>{alt}</figcaption></figure>"
    )


def _page(title: str, body: str, *, dark: bool) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>body{{margin:1.5rem auto;max-width:70rem;padding:0 1rem;"
        f"background:{PAPER.colour(dark)};color:{TEXT.colour(dark)};"
        "font:16px/1.5 'Source Sans 3','Segoe UI',sans-serif}"
        f"figure{{margin:0}}figcaption{{color:{MUTED.colour(dark)};max-width:46rem}}"
        f"a{{color:inherit}}</style></head><body>{body}</body></html>"
    )
