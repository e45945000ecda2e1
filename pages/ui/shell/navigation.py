"""The pages of the app, in order, and how a view arrives by a link.

Until ``st.navigation`` has run once in the server process, Streamlit takes the folder ``pages/`` for an app of the old
kind and would run a page without ``app.py`` around it. So every page begins with ``enter()``: on such a first visit
it declares the pages and starts over, with the link's values intact.
"""

import math
import time
from collections.abc import Mapping

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

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
# Streamlit makes an entry in the browser's history of every change that the server makes in the address: on a move one
# for the parameters that are left behind, written over the old page's, one for the new page, one for each value that is
# restored there. Here a move is one entry: what follows a click makes one at most, by a change of the page, or by a
# button that is a MOVE; the page that is left keeps the address that it had at the click.
MOVES = '[class*="st-key-preset-"], .st-key-infinite'  # buttons that bring another view of the same page
ONE_ENTRY_A_MOVE = f"""<script>
if (!window.oneEntryAMove) {{
  window.oneEntryAMove = true;
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history);
  let left = location.href, moves = false, moved = false;
  history.pushState = (state, title, url) => {{
    const stays = new URL(url, location.href).pathname === location.pathname;
    if (moved || (stays && !moves)) return replace(state, title, url);
    if (new URL(left).pathname === location.pathname) replace(history.state, "", left);
    push(state, title, url);
    moved = true;
  }};
  const begin = (event) => {{
    if (event.detail > 1) return;  // a double click is one
    left = location.href;
    moves = event.target.closest?.('{MOVES}') != null;
    moved = false;
  }};
  for (const kind of ["mouseup", "click"]) addEventListener(kind, begin, true);
  addEventListener("popstate", () => {{ moved = true; }});  // Back makes no entry
}}
</script>"""
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


def menu() -> StreamlitPage:
    """Declare the pages and draw their menu; the page that is open."""
    st.set_option("client.showSidebarNavigation", True)  # until here the menu would be one of file names
    return st.navigation(pages())


def keep_history() -> None:
    """From here on a move is one entry in the browser's history; drawn in the sidebar, where it takes no room."""
    st.html(ONE_ENTRY_A_MOVE, unsafe_allow_javascript=True)


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
    if time.monotonic() > until or get_script_run_ctx().is_history_navigation:  # Back: the address says what is wanted
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


def read_address(page: str) -> None:
    """Called by app.py before any control is drawn: make what a link, or Back, brings something that controls can take.

    Infinite numbers they would fail at; those are taken out of the address, and old names become the new ones. page:
    the address of the page. Of the link that opened the session the parameters are kept: widgets drop what they cannot
    take in silence.
    """
    context, old = get_script_run_ctx(), OLD_NAMES.get(page, {})
    arrives = "arrival" not in st.session_state
    if not arrives and not context.is_history_navigation:
        return
    given = {name: st.query_params.get_all(name) for name in st.query_params}
    named = {old[name]: given[name] for name in given if name in old}
    named |= {name: values for name, values in given.items() if name not in old}
    if arrives:
        st.session_state.arrival = named
    usable = {name: values for name, values in named.items() if not any(map(_is_infinite, values))}
    with context.session_state.query_params() as address:  # st.query_params does not change what a control is bound to
        for name in usable.keys() - given.keys():
            address.set_with_no_forward_msg(name, usable[name])
        for name in given.keys() - usable.keys():
            address.remove_param(name)
        address.set_initial_query_params_from_current()


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def enter() -> None:
    """First line of every page; see the module's text."""
    if "arrival" not in st.session_state:
        st.set_page_config(page_icon=ICON)
        read_address(st.navigation(pages(), position="hidden").url_path)
        st.rerun()
