"""The pages of the app, in order, and how a view arrives by a link.

Until ``st.navigation`` has run once in the server process, Streamlit takes the folder ``pages/`` for an app of the old
kind and would run a page without ``app.py`` around it. So every page begins with ``enter()``: on such a first visit
it declares the pages and starts over, with the link's values intact.
"""

import math
import time
from collections.abc import Mapping

import streamlit as st

ABOUT = (
    "What the neural tangent kernel says about adversarial robustness, after N. Tsilivis and J. Kempe, "
    "*What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?*, NeurIPS 2022."
)
# A perturbed square. Streamlit would fetch a named icon for the browser's tab from the network.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="1.5" fill="#0072B2"/>'
    '<path d="M2 2h2v2h-2zM4 4h2v2h-2z" fill="#fff"/><path d="M4 2h2v2h-2zM2 4h2v2h-2z" fill="#E69F00"/></svg>'
)

# Names that parameters of links had before, by the page's address: such links open as they did.
OLD_NAMES = {"transfer": {"shown": "flipped"}}
HELD = 5.0  # seconds for which a control that a callback has set does not fall back


def pages() -> list:
    """The pages in the order of the menu."""
    return [
        st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
        st.Page("pages/spectrum.py", title="Spectrum", icon=":material/equalizer:"),
        st.Page("pages/eigenfeatures.py", title="Eigenfeatures", icon=":material/scatter_plot:"),
        st.Page("pages/attack.py", title="Attack", icon=":material/bolt:"),
        st.Page("pages/transfer.py", title="Transfer", icon=":material/swap_horiz:"),
        st.Page("pages/evolution.py", title="Evolution", icon=":material/animation:"),
        st.Page("pages/consistency.py", title="Consistency", icon=":material/compare:"),
        st.Page("pages/runs.py", title="Runs", icon=":material/inventory_2:"),
    ]


def set_controls(values: Mapping[str, object]) -> None:
    """From a button's callback: set controls, by their keys, and hold them for a moment; see ``hold``."""
    _, held = st.session_state.get("held", (0.0, {}))
    held = held | {name: (st.session_state.get(name), value) for name, value in values.items()}
    for name, value in values.items():
        st.session_state[name] = value
    st.session_state.held = time.monotonic() + HELD, held


def hold() -> None:
    """Called by app.py before any control is drawn: set again what a callback has just set and what is as before.

    A part of the page that polls may have asked for its next run when the callback ran; with that request the
    browser sends all controls as they were, and Streamlit would take them back.
    """
    until, held = st.session_state.get("held", (0.0, {}))
    if time.monotonic() > until:
        st.session_state.pop("held", None)
        return
    for name, (before, value) in held.items():
        if name not in st.session_state or (st.session_state[name] == before and before != value):
            st.session_state[name] = value


def go_to(page: str, **choices: object) -> None:
    """From a button's callback: open a page next, its controls (by their keys) set to these choices.

    They go into the address too: a control that is drawn for the first time does not write there what it is given.
    """
    set_controls(choices)
    query = {
        name: [str(one) for one in value] if isinstance(value, list) else str(value) for name, value in choices.items()
    }
    st.session_state.going_to = page, {name: value for name, value in query.items() if value}


def follow() -> None:
    """Called by app.py once the pages are declared: go where a callback wanted to go."""
    if "going_to" in st.session_state:
        page, query = st.session_state.pop("going_to")
        st.switch_page(page, query_params=query)


def remember_arrival(page: str) -> bool:
    """Keep the parameters of the link that opened this session: widgets drop what they cannot take in silence.

    Infinite numbers they do not drop but fail at; those are taken out of the address, and old names become the new
    ones. page: the address of the link's page. Returns whether the run has to start over for that.
    """
    if "arrival" in st.session_state:
        return False
    arrival = {name: st.query_params.get_all(name) for name in st.query_params}
    wrong = {name for name, values in arrival.items() if any(map(_is_infinite, values))}
    for old, new in OLD_NAMES.get(page, {}).items():
        if old in arrival:
            values = arrival.pop(old)
            if new not in arrival:
                arrival[new] = st.query_params[new] = values
            wrong.add(old)
    for name in wrong:
        del st.query_params[name]
    st.session_state.arrival = arrival
    return bool(wrong)


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def enter() -> None:
    """First line of every page; see the module's text."""
    if "arrival" not in st.session_state:
        st.set_page_config(page_icon=ICON)
        remember_arrival(st.navigation(pages(), position="hidden").url_path)
        st.rerun()
