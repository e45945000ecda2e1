"""The pinned experiment: one control in the sidebar, one parameter of the link, and what differs from it.

The link's ``pin`` is the short form of an experiment (``ntkcore.runs.specs.short``); a wrong one is a sentence at the
head of the page::

    with st.sidebar:
        pinned.draw(page.url_path)              # in app.py: pin this experiment, or unpin
    found = pinned.found()                      # an Experiment, the NTKError that says why not, or None
    named(experiment, beside=found)             # "FC(5), eps 8/255"
    settings_that_differ(experiment, found)     # {"Depth": ("5", "1")}
"""

from collections.abc import Container

import streamlit as st

from ntkcore.analysis.attacks.balls import in_pixels
from ntkcore.errors import NTKError
from ntkcore.runs.specs import REGIME_NAMES, Experiment, lengthen, shorten
from pages.ui.controls import sidebar
from pages.ui.controls.sidebar import EXPERIMENT
from pages.ui.shell.links import judge_link, set_controls
from pages.ui.shell.plain import plain
from pages.ui.shell.vocabulary import in_words

HELP = (
    "Then change anything: figures show both, the pinned experiment dotted and hollow, and a table says what differs."
)
NOT_SHOWN_ON = ("runs",)  # addresses of pages that do not show both
_OF_KERNEL = ("net", "depth", "kind", "checkpoint")  # controls that a name says already
_OF_NAME = (*_OF_KERNEL, "eps")


def draw(page: str) -> None:
    """Pin what the sidebar says, or unpin; the link's own field is not seen. page: the address of the open one."""
    with st.container(key="pin-in-link"):
        st.html("<style>.st-key-pin-in-link { display: none; }</style>")
        st.text_input("Pinned experiment", key="pin", bind="query-params")
    judge_link()
    pinned, now = found(), sidebar.experiment()
    if pinned is None:
        values = {"pin": shorten(now)} if isinstance(now, Experiment) else {}
        st.button(
            "Pin this experiment",
            key="pin-it",
            icon=":material/keep:",
            on_click=set_controls,
            args=(values,),
            disabled=not values,
            help=HELP,
            width="stretch",
        )
        return
    if isinstance(pinned, Experiment):
        where = ", not shown on this page" if page in NOT_SHOWN_ON else ""
        st.caption(f"Pinned: {plain(named(pinned, now if isinstance(now, Experiment) else pinned))}{where}")
    st.button(
        "Unpin",
        key="unpin",
        icon=":material/keep_off:",
        on_click=set_controls,
        args=({"pin": ""},),
        width="stretch",
    )


def found() -> Experiment | NTKError | None:
    """The pinned experiment, what is wrong with the link's, or None where none is pinned."""
    text = st.session_state.get("pin") or ""
    try:
        return lengthen(text) if text else None
    except NTKError as error:
        return NTKError(f"The link's pin could not be used: {error}")


def named(experiment: Experiment, beside: Experiment) -> str:
    """An experiment in a few words, "FC(1), eps 4/255", with what else distinguishes it from the one beside it."""
    words = [_kernel(experiment), f"eps {in_pixels(experiment.attack.eps, experiment.attack.norm)}"]
    mine, theirs = (EXPERIMENT.values(one) for one in (experiment, beside))
    others = [key for key in mine if key not in _OF_NAME and mine[key] != theirs.get(key)]
    return ", ".join([*words, *(_briefly(key, mine[key]) for key in others[:2])])


def settings_that_differ(one: Experiment, other: Experiment, unused: Container[str] = ()) -> dict[str, tuple[str, str]]:
    """What the controls of two experiments show where that differs: by label, the value of each; but the unused."""
    values = [EXPERIMENT.values(experiment) for experiment in (one, other)]
    differing = [key for key in values[0] if key not in unused and values[0][key] != values[1].get(key)]
    return {_label(key, one): tuple(_shown(key, of) for of in (one, other)) for key in differing}


def _kernel(experiment: Experiment) -> str:
    if experiment.checkpoint is not None:
        run = experiment.checkpoint.run
        regime = f"{REGIME_NAMES[run.regime]} training"
        return f"{run.net.in_words().split(' (')[0].split(',')[0]}, {regime}, epoch {experiment.checkpoint.epoch}"
    kind = "" if experiment.kind == "ntk" else f" {experiment.kind.upper()}"
    return f"{experiment.net.build()}{kind}"


def _label(key: str, experiment: Experiment) -> str:
    label = EXPERIMENT.by_key[key].label
    return label(experiment.attack.norm) if callable(label) else label


def _shown(key: str, experiment: Experiment) -> str:
    """What a control shows, as a text; of a checkpoint, which net it is."""
    if key == "checkpoint":
        return "none" if experiment.checkpoint is None else _kernel(experiment)
    return _text(key, EXPERIMENT.by_key[key].value(experiment))


def _text(key: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "all"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "") else f"{value:.4g}" if isinstance(value, float) else in_words(key, value)


def _briefly(key: str, value: object) -> str:
    """A setting in a name: "n = 500", "PGD"."""
    text = " / ".join(map(str, value)) if isinstance(value, list) else _text(key, value)
    return text if key in ("data", "classes", "attack", "act", "norm") else f"{_WORDS.get(key, key)} {text}"


_WORDS = {
    "n": "n =",
    "m": "m =",
    "w": "W_std",
    "b": "b_std",
    "size": "side",
    "inputs": "inputs",
    "start": "random start",
    "fdr": "fdr",
}
