"""How every page shows a result: figure, caption, downloads, the expander with formula, settings and code.

::

    figures = Figures()
    figures.show("Usefulness", figure, key="scatter", on_click=opened)      # drawn, and kept for the downloads
    explain("spectrum", formula, spec, lambda: spectrum_lines(experiment))
    downloads("eigenfeatures", figures, arrays)
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.figures import export
from ntkcore.figures.drawing.enlarge import enlarge
from ntkcore.figures.drawing.images import data_uri, signed_rgb, to_rgb
from ntkcore.figures.drawing.overlay import overlay
from ntkcore.figures.drawing.strip import Picture
from ntkcore.readings.verdicts import Judgement
from ntkcore.runs.specs import StageSpec
from pages.ui.shell.plain import plain
from pages.ui.shell.present import SIDE, presenting

Drawn = go.Figure | Callable[[], go.Figure]
OnClick = Callable[[int], None] | None  # called with the index of the point


def dark() -> bool:
    """Whether the reader's theme is dark."""
    return st.context.theme.type == "dark"


class Drawing(NamedTuple):
    """A figure that is drawn once for a stamp, which names all that it shows besides its title."""

    draw: Callable[[], go.Figure]
    stamp: str

    def made(self, title: str) -> go.Figure:
        return cached_figure(f"{title} {self.stamp}", self.draw)


class Figures(dict[str, Drawn]):
    """The figures of a page by their titles, as its downloads have them."""

    def show(self, title: str, figure: go.Figure | Drawing, key: str, on_click: OnClick = None) -> None:
        """Show a figure."""
        self[title] = drawn = figure.made(title) if isinstance(figure, Drawing) else figure
        chart(drawn, export.slug(title), key, on_click)

    def show_both(
        self,
        title: str,
        now: Drawing,
        pinned: Drawing,
        key: str,
        names: tuple[str, str],
        on_click: OnClick = None,
        apart: bool = False,
    ) -> None:
        """Show the same figure of the current experiment and of the pinned one, by their ``names``: laid over each
        other; below each other where that cannot be, or ``apart`` asks for it."""
        both = None
        if not apart:
            stamps = f"{title} {now.stamp} {pinned.stamp} {names}"
            both = _overlaid(stamps, now.made(title), pinned.made(title), *names)
        if both is not None:
            self.show(title, both, key, on_click)
            return
        st.caption(f"Now: {plain(names[0])}")
        self.show(title, now, key, on_click)
        st.caption(f"Pinned: {plain(names[1])}")
        self.show(f"{title}, pinned", pinned.made(title), f"{key}-pinned")


def chart(figure: go.Figure, name: str, key: str, on_click: OnClick = None) -> None:
    """Show ``figure`` across the container, with its alt text; on_click is called after a click on a point."""
    if presenting():
        figure = enlarge(figure)
    meta = figure.layout.meta or {}
    st.plotly_chart(
        figure,
        width="content" if figure.layout.width else "stretch",
        theme=None,
        key=key,
        on_select="ignore" if on_click is None else partial(_clicked, key, on_click),
        selection_mode="points",
        config=export.chart_config(name, st.session_state.get("camera", "svg")),
        alt=meta.get("alt"),
    )


@st.cache_resource(show_spinner=False, max_entries=64)
def cached_figure(stamp: str, _draw: Callable[[], go.Figure]) -> go.Figure:
    """The figure that ``_draw`` makes, kept in memory under a stamp that names all it shows, for every session."""
    return _draw()


@st.cache_resource(show_spinner=False, max_entries=64)
def _overlaid(stamp: str, _now: go.Figure, _pinned: go.Figure, now: str, pinned: str) -> go.Figure | None:
    """Both in one, or None, kept likewise."""
    return overlay(_now, _pinned, now=now, pinned=pinned)


@st.cache_resource(show_spinner=False, max_entries=64)
def cached_text(stamp: str, _tell: Callable[[], str]) -> str:
    """The sentence that ``_tell`` makes, kept likewise."""
    return _tell()


@st.cache_resource(show_spinner=False, max_entries=64)
def cached_judgement(stamp: str, _judge: Callable[[], Judgement]) -> Judgement:
    """The verdict on a claim, kept likewise."""
    return _judge()


def _clicked(key: str, on_click: Callable[[int], None]) -> None:
    """Called after a change of the selection in a figure: the index (customdata) of the point, if there is one."""
    state = st.session_state.get(key)
    points = state.selection.points if state else []
    data = points[0].get("customdata") if points else None
    while isinstance(data, list | tuple):
        data = data[0] if data else None
    if data is not None:
        on_click(int(data))


def pictures(row: Sequence[Picture], width: int = 150) -> None:
    """Labelled pictures side by side, ``width`` pixels each, wrapping on a narrow screen; pixels stay sharp.

    They travel inside the page: as files of the server they would be JPEG, and gone when a run is overtaken.
    """
    width = max(width, SIDE) if presenting() else width
    with st.container(horizontal=True, gap="small"):
        for picture in row:
            plane = signed_rgb(picture.image, picture.scale) if picture.signed else to_rgb(picture.image)
            title = picture.title.replace("<br>", ", ")
            st.image(data_uri(plane, -(-2 * width // plane.shape[1])), caption=plain(title), width=width, alt=title)


@st.fragment
def explain(page: str, formula: str, spec: StageSpec, lines: Callable[[], str]) -> None:
    """The expander below a result: what was computed, with which settings, and the Python lines that reproduce it."""
    label = "How this is computed, and the Python lines that reproduce it"
    with st.expander(label, key=f"explained-{page}", on_change="rerun") as place:
        if place.open:
            st.latex(formula)
            st.caption(plain(spec.in_words()))
            st.code(lines(), language="python")
            st.json(spec.model_dump(mode="json"), expanded=False)


@st.fragment
def python_lines(page: str, label: str, lines: Callable[[], str]) -> None:
    """An expander of Python lines alone. Like the one above it is filled when it is unfolded: to colour Python takes a
    browser half a second of every page's start, and few readers look."""
    with st.expander(label, key=f"lines-{page}", on_change="rerun") as place:
        if place.open:
            st.code(lines(), language="python")


def downloads(
    name: str, figures: Mapping[str, Drawn], arrays: Mapping[str, np.ndarray], table: str | None = None
) -> None:
    """Data and figures of a page as files. Pictures (SVG, PNG) come from the camera button of each figure.

    A figure that the page itself does not show may be given as a function that draws it when it is asked for.
    table: what the rows are, where the arrays are the columns of one table.
    """
    with st.popover("Download", icon=":material/download:"):
        st.download_button(
            "Arrays (NPZ)", lambda: npz(arrays), f"{name}.npz", on_click="ignore", width="stretch", key=f"npz-{name}"
        )
        if table is not None:
            rows, key, file = partial(export.columns_csv, arrays), f"table-{name}", f"{export.slug(table)}.csv"
            st.download_button(f"{table} (CSV)", rows, file, on_click="ignore", width="stretch", key=key)
        for title, figure in figures.items():
            file, files = export.slug(title), {"csv": export.to_csv, "html": partial(export.to_html, title=title)}
            for kind, made in files.items():
                st.download_button(
                    f"{title} ({kind.upper()})",
                    lambda figure=figure, made=made: made(figure() if callable(figure) else figure),
                    f"{file}.{kind}",
                    on_click="ignore",
                    width="stretch",
                    key=f"{kind}-{name}-{file}",
                )
        st.segmented_control(
            "The camera above a figure saves it as",
            ["svg", "png"],
            default="svg",
            required=True,
            key="camera",
            persist_state="session",
        )


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(value) for name, value in arrays.items()})
    return buffer.getvalue()
