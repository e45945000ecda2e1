"""Visiting the pages without a browser: wait for their results, read what they show, choose in figures and tables.

Built on Streamlit's AppTest; the app, the worker process and the store are the real ones::

    at = run_until_ready(app_test({"n": "60", "m": "20"}, page="pages/attack.py"))
    assert charts(at) == ["images", "margins", "sheet"]
    artifact = stored(at.session_state.experiment.flip(0))
"""

import base64
import json
import re
import time
from collections.abc import Mapping, Sequence

import numpy as np
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.intervals import difference
from ntkcore.readings.words import MINUS, percent, points_within
from ntkcore.runs.comparison import with_net
from ntkcore.runs.specs import Experiment, StageSpec, key
from ntkcore.runs.store import Artifact, Store
from pages.ui.shell.services import services

PAGES = ("overview", "spectrum", "eigenfeatures", "attack", "transfer", "evolution", "consistency", "runs")
RESULTS = PAGES[:-1]  # those that compute
SMALL = {"n": "60", "m": "20"}


def least(page: str, n: int = 40, m: int = 10) -> dict[str, str]:
    """The link to an experiment of n training and m test images on which a page has as little to do as it can."""
    few = {
        "transfer": {"descent": "10", "widths": "8"},
        "evolution": {"epochs": "1", "probe": str(min(10, n)), "judged": str(min(10, n))},
        "consistency": {"cn": str(min(20, n)), "cm": str(min(8, m))},
    }
    return {"n": str(n), "m": str(m), **few.get(page, {})}


CHARTS = {
    "overview": [],
    "spectrum": ["eigenvalues", "cumulative", "learned", "heatmap", "eigenvectors"],
    "eigenfeatures": ["bands", "scatter", "along-index", "over-null", "class-shares", "split", "kept", "time"],
    "attack": ["margins", "sheet"],
    "transfer": ["along-eps", "along-width", "along-training", "training-loss", "gallery"],
    "evolution": ["accuracies", "velocity", "thresholds", "distances", "paths", "concentration", "aligned", "spectra"],
    "consistency": ["overlap", "alignment", "uncentred", "pair-vectors", "matched"],
    "runs": [],
}


def working(at: AppTest) -> bool:
    """Whether the page shows a job that is under way."""
    return any(button.label == "Cancel" for button in at.button)


def run_until_ready(at: AppTest, limit_s: float = 240.0) -> AppTest:
    """Press every Run button and run the page again, as its polling would, until no job is under way.

    No look on the way may show an exception.
    """
    until = time.monotonic() + limit_s
    while True:
        assert not at.exception, at.exception[0].message
        offered = [button for button in at.button if button.label in ("Run", "Run again", "Go on")]
        if offered:
            offered[0].click().run()
        elif working(at):
            for job in services().worker.jobs():
                assert job.wait(until - time.monotonic()), f"not done after {limit_s:.0f} s: {job}"
            at.run()
        else:
            return at


def press(at: AppTest, label: str) -> None:
    """Click on the one button of the page with this label."""
    (button,) = (button for button in at.main.button if button.label == label)
    button.click().run()
    assert not at.exception, at.exception[0].message


def progress(at: AppTest) -> list:
    """The progress bars."""
    return list(at.get("progress"))


def charts(at: AppTest) -> list[str]:
    """The keys of the figures, in the order of the page; the whole name where the key is not a known one. Without the
    Overview's scatter in small, which is there as soon as any page has computed the sweep."""
    known = sorted({name for names in CHARTS.values() for name in names}, key=len, reverse=True)
    ids = [chart.proto.id for chart in at.get("plotly_chart")]
    ids = [one for one in ids if not one.endswith("-in-small")]
    return [next((name for name in known if one.endswith(f"-{name}")), one) for one in ids]


def drawn(at: AppTest, name: str) -> dict[str, np.ndarray]:
    """The heights of a figure's lines by their names."""
    (chart,) = (chart for chart in at.get("plotly_chart") if chart.proto.id.endswith(f"-{name}"))
    found: dict[str, np.ndarray] = {}
    for trace in json.loads(chart.proto.spec)["data"]:
        heights = _numbers(trace.get("y") or [])
        if len(heights) > len(found.get(trace.get("name", ""), [])):  # the legend has lines of its own, without points
            found[trace.get("name", "")] = heights
    return found


def _numbers(values: list | Mapping[str, str]) -> np.ndarray:
    if isinstance(values, list):
        return np.array(values, dtype=float)
    return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"])).astype(float)


def pictures(at: AppTest) -> list[str]:
    """The captions of the pictures that have one."""
    return [caption for image in at.main.image for caption in image.captions if caption]


def over_pictures(at: AppTest, key: str = "margins") -> list[list[str]]:
    """The lines of words over the three pictures of a figure that follows the radius."""
    (chart,) = (chart for chart in at.get("plotly_chart") if chart.proto.id.endswith(f"-{key}"))
    titles = [title["text"] for title in json.loads(chart.proto.spec)["layout"]["annotations"][:3]]
    return [re.sub("</?b>", "", title).split("<br>") for title in titles]


def side_by_side(at: AppTest) -> dict[str, list[str]]:
    """The rows of the table that compares both, by what they are about."""
    (shown,) = at.table
    return {name: list(row) for name, row in zip(shown.value.index, shown.value.to_numpy(), strict=True)}


def of_shares(first: np.ndarray, second: np.ndarray, paired: bool = True) -> list[str]:
    """What the table says of two experiments' verdicts on the test images."""
    if paired and (first == second).all():
        return [percent(first.mean()), percent(second.mean()), "the same on every image"]
    band = difference(first, second, paired)
    mean, low, high = (float(one[0]) for one in (band.mean, band.low, band.high))
    word = "higher" if low > 0 else "lower" if high < 0 else "cannot tell"
    return [percent(first.mean()), percent(second.mean()), f"{points_within(mean, low, high)}: {word}"]


def text(at: AppTest) -> str:
    """All paragraphs and captions of the page, without the sidebar."""
    return "\n".join(element.value for element in (*at.main.markdown, *at.main.caption))


def complaints(at: AppTest) -> list[str]:
    """The texts of its errors and warnings."""
    return [element.value for element in (*at.error, *at.warning)]


def number(pattern: str, where: str) -> float:
    """The number in ``where`` at the one group of ``pattern``."""
    found = re.search(pattern, where.replace(MINUS, "-"))
    assert found, f"nothing like {pattern!r} in: {where}"
    return float(found[1])


def stored(spec: StageSpec) -> Artifact:
    """The artifact of ``spec`` in the cache in force; it must be there."""
    artifact = Store().get(spec.stage, key(spec))
    assert artifact is not None, f"{spec.stage} is not in the cache"
    return artifact


def small(at: AppTest, *names: str, test: int | None = None) -> list[Experiment]:
    """The experiments that the Consistency page compares: the sidebar's on images of 14 pixels a side; kernels and
    gradients with ``test`` = 10 test images."""
    experiment = at.session_state.experiment
    smaller = experiment.replace(data=experiment.data.replace(size=14, n_test=test or experiment.data.n_test))
    return [with_net(smaller, name) for name in names]


def select(at: AppTest, name: str, *, points: Sequence[dict] = (), rows: Sequence[int] = ()) -> AppTest:
    """Click on points of the figure, or on rows of the table, with the key ``name``."""
    elements = [*at.get("plotly_chart"), *at.dataframe]
    (element,) = (one for one in elements if one.proto.id.endswith(f"-{name}"))
    selection = {"points": list(points), "point_indices": [], "box": [], "lasso": []} if points else {}
    selection = selection or {"rows": list(rows), "columns": [], "cells": []}
    states = at._tree.get_widget_states()
    state = states.widgets.add()
    state.id, state.string_value = element.proto.id, json.dumps({"selection": selection})
    return at._run(states)
