"""Controls and the address: what a link brings, what a button's callback sets, and what no control could take.

Streamlit keeps the value of a control in the parameter of the address that has the control's key. Here is the rest::

    read_address(page.url_path)              # in app.py, before any control is drawn
    keep_controls()
    follow_callback()
    go_to("pages/attack.py", image=3)        # in a button's callback: that page next, its controls set
    judge_link()                             # once controls are drawn: which values of the link were not taken
    draw_receipt()                           # last of all
"""

import math
import secrets
from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.shell.vocabulary import in_words

# Names that parameters of links had before, by the page's address: such links open as they did.
OLD_NAMES = {"transfer": {"shown": "flipped"}}
SWITCHES = ("present",)  # of the visit, not of a view: a link may say 1, and Back does not move them
# Parameters of controls that always have one of several segments: Streamlit would take a link's nothing for none.
NEVER_EMPTY = ("act", "attack", "claim", "colour", "kind", "net", "show")


class Sent(NamedTuple):
    """What callbacks have set and nobody has changed since.

    values: by key, all that a control has shown before, and what it has been set to. receipt: what the browser gives
    back once it has got that.
    """

    receipt: str
    values: dict[str, tuple[list[object], object]]


def set_controls(values: Mapping[str, object]) -> None:
    """From a callback: set controls, by their keys, and see that they stay set; see ``keep_controls``."""
    sent, state = st.session_state.get("sent"), st.session_state
    waiting = {} if sent is None or _received(sent) else sent.values
    for name, value in values.items():
        if name in waiting or state.get(name) != value:
            before, _ = waiting.get(name, ([], None))
            waiting = waiting | {name: ([*before, state.get(name)], value)}
        state[name] = value
    state.sent = Sent(secrets.token_hex(4), waiting)
    state.receipt = state.sent.receipt


def keep_controls() -> None:
    """Called by app.py before any control is drawn: what a callback has set stays until the browser knows of it.

    A part of the page that polls may have asked for its next run when the callback ran, or somebody typed before the
    browser had been told of it; with that request the browser sends all controls as they were, and Streamlit would take
    them back. The receipt tells: a control that nobody sees, set by the same callback and drawn last of all. While the
    browser sends an older one, it said so before it knew: what the callback has set is set again, and told again; but
    what has been typed since stays.

    The browser may send the receipt a moment before it sends a control that was drawn earlier. So in a run that nobody
    has asked for (``draw_anew``) a control that is as it was before is set again; in others that is somebody's choice.
    """
    sent, state = st.session_state.get("sent"), st.session_state
    as_sent = state.pop("drawn_anew", None)
    if sent is None:
        return
    if get_script_run_ctx().is_history_navigation:  # Back: the address says what is wanted
        del st.session_state["sent"]
    elif not _received(sent):
        for name, (before, value) in sent.values.items():
            state[name] = value if name not in state or state[name] in before else state[name]
        state.receipt = sent.receipt
    elif as_sent is None:
        state.sent = sent._replace(values={name: v for name, v in sent.values.items() if state.get(name, v[1]) == v[1]})
    else:
        for name, (before, value) in sent.values.items():
            chosen_meanwhile = state.get(name) != as_sent.get(name)
            if name in state and state[name] in before and state[name] != value and not chosen_meanwhile:
                state[name] = value


def draw_anew() -> None:
    """From a part of the page that polls: draw all of it anew, though nobody has chosen anything.

    What the controls are now is kept: one that differs in the next run was chosen meanwhile.
    """
    sent = st.session_state.get("sent")
    st.session_state.drawn_anew = {} if sent is None else {name: st.session_state.get(name) for name in sent.values}
    st.rerun()


def draw_receipt() -> None:
    """Called by app.py when everything else is drawn: the browser gets it after all other controls."""
    with st.sidebar, st.container(key="receipt-of-controls"):
        st.html("<style>.st-key-receipt-of-controls { display: none; }</style>")
        st.text_input("Receipt", key="receipt")


def _received(sent: Sent) -> bool:
    """Whether the browser has what callbacks have set, or one has just set it."""
    return st.session_state.get("receipt") == sent.receipt


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

    Infinite numbers they would fail at, and segments at nothing; those are taken out of the address, and old names
    become the new ones. page: the address of the page. Of the link that opened the session the parameters are kept:
    widgets drop what they cannot take in silence. A switch stays as it is at Back: the entry of a page that was left in
    haste may lack it.
    """
    context, old = get_script_run_ctx(), OLD_NAMES.get(page, {})
    arrives = "arrival" not in st.session_state
    if not arrives and not context.is_history_navigation:
        return
    given = {name: st.query_params.get_all(name) for name in st.query_params}
    named = {old[name]: given[name] for name in given if name in old}
    named |= {name: values for name, values in given.items() if name not in old}
    if arrives:
        named |= {name: ["true"] for name in SWITCHES if named.get(name) == ["1"]}
        st.session_state.arrival = named
    else:
        named = {name: values for name, values in named.items() if name not in SWITCHES}
        named |= {name: ["true"] for name in SWITCHES if st.session_state.get(name)}
    usable = {
        name: [in_words(name, value) for value in values]
        for name, values in named.items()
        if not (any(map(_is_infinite, values)) or (name in NEVER_EMPTY and not any(values)))
    }
    with context.session_state.query_params() as address:  # st.query_params does not change what a control is bound to
        for name in [name for name in usable if usable[name] != given.get(name)]:
            address.set_with_no_forward_msg(name, usable[name])
            if name in SWITCHES and not arrives:  # the browser's address has it again, too
                address.set_corrected_value(name, True, "bool_value")
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
