"""Controls and the address: what a link brings, what a button's callback sets, and what no control could take.

Streamlit keeps the value of a control in the parameter of the address that has the control's key. Here is the rest::

    read_address(page.url_path)              # in app.py, before any control is drawn
    hold_controls()
    follow_callback()
    go_to("pages/attack.py", image=3)        # in a button's callback: that page next, its controls set
    judge_link()                             # once controls are drawn: which values of the link were not taken
"""

import math
import time
from collections.abc import Mapping

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.shell.vocabulary import in_words

# Names that parameters of links had before, by the page's address: such links open as they did.
OLD_NAMES = {"transfer": {"shown": "flipped"}}
SWITCHES = ("present",)  # parameters of which a link may say 1
HELD = 60.0  # seconds at most for which a control that a callback has set does not fall back


def set_controls(values: Mapping[str, object]) -> None:
    """From a callback: set controls, by their keys, and hold them until the browser knows; see ``hold_controls``."""
    _, held = st.session_state.get("held", (0.0, {}))
    new = {name: (st.session_state.get(name), value) for name, value in values.items()}
    held = held | {name: (before, value) for name, (before, value) in new.items() if before != value}
    for name, value in values.items():
        st.session_state[name] = value
    st.session_state.held = time.monotonic() + HELD, held


def hold_controls() -> None:
    """Called by app.py before any control is drawn: what a callback has set stays until the browser knows of it.

    A part of the page that polls may have asked for its next run when the callback ran, or somebody typed before the
    browser had been told of it; with that request the browser sends all controls as they were, and Streamlit would take
    them back. They are set again unless one of them shows that the browser knows. What has been typed since is told to
    the browser once more, which may only now get what the callback had set there.
    """
    until, held = st.session_state.get("held", (0.0, {}))
    if time.monotonic() > until or get_script_run_ctx().is_history_navigation:  # Back: the address says what is wanted
        st.session_state.pop("held", None)
        return
    shown = {name: st.session_state[name] for name in held if name in st.session_state}
    known = _known(held)
    for name, (before, value) in held.items():
        stale = name not in shown or (shown[name] == before != value and not known)
        if stale or shown[name] != value:
            st.session_state[name] = value if stale else shown[name]


def heed_browser() -> None:
    """Called by parts of a page that poll: once the browser sends what a callback has set, nothing is held any more.

    Only they can tell: in a run of the whole page, the value may be the one that the callback itself has left.
    """
    _, held = st.session_state.get("held", (0.0, {}))
    if get_script_run_ctx().fragment_ids_this_run and _known(held):
        st.session_state.pop("held", None)


def _known(held: Mapping[str, tuple[object, object]]) -> bool:
    """Whether a control shows what it has been set to."""
    return any(st.session_state.get(name, before) == value != before for name, (before, value) in held.items())


def go_to(page: str, **choices: object) -> None:
    """From a button's callback: open a page next, its controls (by their keys) set to these choices.

    They go into the address too: a control that is drawn for the first time does not write there what it is given. One
    that is drawn already, as the sidebar's are, writes there itself and lets nobody else.
    """
    new = {name: value for name, value in choices.items() if name not in st.session_state}
    set_controls(choices)
    st.session_state.going_to = page, in_address(new)


def in_address(choices: Mapping[str, object]) -> dict[str, str | list[str]]:
    """The parameters of a link to a view with these choices; an empty choice has none."""
    texts = {
        name: [str(one) for one in value] if isinstance(value, list) else "" if value is None else in_words(name, value)
        for name, value in choices.items()
    }
    return {name: text for name, text in texts.items() if text}


def follow_callback() -> None:
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
    named |= {name: ["true"] for name in SWITCHES if named.get(name) == ["1"]}
    if arrives:
        st.session_state.arrival = named
    usable = {
        name: [in_words(name, value) for value in values]
        for name, values in named.items()
        if not any(map(_is_infinite, values))
    }
    with context.session_state.query_params() as address:  # st.query_params does not change what a control is bound to
        for name in [name for name in usable if usable[name] != given.get(name)]:
            address.set_with_no_forward_msg(name, usable[name])
        for name in given.keys() - usable.keys():
            address.remove_param(name)
        address.set_initial_query_params_from_current()


def _is_infinite(text: str) -> bool:
    try:
        return math.isinf(float(text))
    except ValueError:
        return False


def judge_link(page_drawn: bool = False) -> bool:
    """Whether a control that is there for the first time since the link opened did not take the link's value.

    Called when the sidebar is drawn, and again by app.py when the page's own controls are; then the link is done.
    """
    arrival = st.session_state.get("arrival") or {}
    drawn = [name for name in arrival if name in st.session_state]
    refused = [name for name in drawn if _differs(name, arrival.pop(name))]
    if refused:
        st.session_state.refused = [*st.session_state.get("refused", ()), *refused]
    if page_drawn:
        arrival.clear()
    return bool(refused)


def refusal() -> str | None:
    """A sentence that names the link's values that were not taken, until the experiment is changed."""
    refused = st.session_state.get("refused")
    if not refused:
        return None
    return f"The link's {_listed(refused)} could not be used as written: what the controls show is used instead."


def _differs(name: str, values: list[str]) -> bool:
    taken = st.session_state[name]
    if isinstance(taken, list):
        return sorted(str(value) for value in taken) != sorted(value for value in values if value)
    text = values[-1] if values else ""
    if isinstance(taken, bool):
        return text.lower() != str(taken).lower()
    if isinstance(taken, int | float):
        try:
            return float(text) != float(taken)
        except ValueError:
            return True
    return text not in ("" if taken is None else str(taken), in_words(name, taken))


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
