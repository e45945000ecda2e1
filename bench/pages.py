"""What the server does for a page: seconds of a control change with its results in the store, and bytes to draw it.

Each page is run as Streamlit runs it (AppTest, one script run after the other in this process), on the default
experiment with a folder of its own, so the first visit computes: that is the cold time, and takes minutes for Transfer
and Evolution. Then one control goes to and fro between two values, both seen before; the median of a run counts. Bytes
are those of all elements as they are sent, figures and tables included (pictures are files of their own); the largest
figure stands beside them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Seconds, timed

ROOT = Path(__file__).parent.parent
LONGEST_S = 900


@dataclass(frozen=True)
class Visit:
    """A page, the control that is moved, and its two values; None: the page alone is run again."""

    page: str
    control: str | None
    values: tuple[object, ...] = ()


VISITS = (
    Visit("overview", None),
    Visit("story", None),
    Visit("spectrum", "vi", (1, 2)),
    Visit("eigenfeatures", "feature", (0, 1)),
    Visit("attack", "image", (0, 1)),
    Visit("consistency", "of-image", (0, 1)),
    Visit("transfer", "flipped", (0, 1)),
    Visit("evolution", "look", (0, 5)),
    Visit("runs", None),
)


def main(options: argparse.Namespace) -> None:
    """Measure and print; options: n, m, rounds."""
    print(f"n = {options.n}, m = {options.m}; server's seconds of a control change, medians of {options.rounds}")
    kept = {name: os.environ.get(name) for name in ("NTK_CACHE", "NTK_DATA")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NTK_CACHE": f"{folder}/cache", "NTK_DATA": f"{folder}/data"}
        try:
            for visit in VISITS:
                print(f"  {visit.page:<14} {_measured(visit, options)}", flush=True)
        finally:
            from pages.ui.shell.services import services

            services().worker.close()
            for name, value in kept.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _measured(visit: Visit, options: argparse.Namespace) -> str:
    cold, at = timed(lambda: _ready(_open(visit.page, options)))
    control = None if visit.control is None else _control(at, visit.control)
    if control is not None:
        for value in visit.values:
            _ready(control.set_value(_value(control, value)).run())
            control = _control(at, visit.control)
    seconds = []
    for turn in range(options.rounds):
        if control is None:
            seconds.append(timed(at.run)[0])
            continue
        chosen = _value(control, visit.values[turn % len(visit.values)])
        seconds.append(timed(lambda c=control, v=chosen: c.set_value(v).run())[0])
        control = _control(at, visit.control)
    sizes = list(_sizes(at))
    figures = [size for kind, size in sizes if kind == "plotly_chart"]
    largest = f", largest of {len(figures)} figures {max(figures) / 1e3:.0f} kB" if figures else ""
    total = sum(size for _, size in sizes)
    moved = "run again" if control is None else f"{visit.control} moved"
    return f"{Seconds(seconds)} {moved}; cold {cold:.1f} s; {total / 1e3:.0f} kB{largest}"


def _open(page: str, options: argparse.Namespace):
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.testing.v1 import AppTest

    begin = PagesManager.__init__

    def begin_as_later(self, *arguments, **named) -> None:
        """Streamlit knows only after a first run that app.py names its pages itself."""
        begin(self, *arguments, **named)
        PagesManager.uses_pages_directory = False

    PagesManager.__init__ = begin_as_later
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=LONGEST_S)
    at.query_params["n"], at.query_params["m"] = str(options.n), str(options.m)
    return at.switch_page(f"pages/{page}.py").run()


def _ready(at):
    """Start what is offered and look again until nothing is under way."""
    from pages.ui.shell.services import services

    until = time.monotonic() + LONGEST_S
    while time.monotonic() < until:
        if at.exception:
            raise RuntimeError(at.exception[0].message)
        offered = [button for button in at.button if button.label in ("Run", "Run again", "Go on")]
        if offered:
            offered[0].click().run()
        elif any(button.label == "Cancel" for button in at.button):
            for job in services().worker.jobs():
                job.wait(until - time.monotonic())
            at.run()
        else:
            return at
    raise RuntimeError(f"not ready after {LONGEST_S} s")


def _control(at, key: str):
    kinds = (at.number_input, at.selectbox, at.slider, at.select_slider, at.radio, at.segmented_control)
    return next(control for kind in kinds for control in kind if control.key == key)


def _value(control, chosen: int):
    """A number as it is, or the option at that place."""
    return control.options[chosen] if hasattr(control, "options") else type(control.value)(chosen)


def _sizes(at) -> Iterator[tuple[str, int]]:
    """(kind, bytes) of every element."""

    def walk(block) -> Iterator[tuple[str, int]]:
        for child in block.children.values():
            if hasattr(child, "children"):
                yield from walk(child)
            elif child.proto is not None:
                yield child.type, child.proto.ByteSize()

    yield from walk(at.main)
    yield from walk(at.sidebar)
