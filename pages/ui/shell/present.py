"""Presenter mode: what is read from the back row, on every page until it is left.

The sidebar is gone, text and figures are larger. It is a switch in the sidebar and ``?present=1`` in a link; a small
button, or Escape, leaves it::

    with st.sidebar:
        present.switch()
    present.draw()                      # in app.py, above the page
    if presenting(): ...
    with folded(): ...                  # a page's controls
    with headline(): ...                # the sentence that answers the page's question: in a talk under the title
"""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.shell.links import set_controls

SIDE = 300  # pixels that a picture has at least
_LOOKS = """<style>
[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"], [data-testid="stHeader"] { display: none !important; }
[data-testid="stMainBlockContainer"] { padding: 0.75rem 2rem 0 !important; max-width: none !important; }
.modebar-container { display: none; }
[data-testid="stMain"] h1 { font-size: 2.6rem; }
[data-testid="stMain"] :is(h2, h3) { font-size: 1.75rem; line-height: 1.2; }
[data-testid="stMain"] [data-testid="stHeading"] h1 { font-size: 1.3rem; padding: 0; }
[data-testid="stMain"] h4 { font-size: 1.3rem; padding: 0 5.5rem 0 0; }
[data-testid="stMain"] [data-testid="stMarkdown"] :is(h1, h3) { padding: 0.25rem 0; }
[data-testid="stMain"] :is(p, li, label, input, [data-testid="stMetricLabel"], [data-testid="stCaptionContainer"] *) {
  font-size: 1.25rem;
}
[data-testid="stMain"] [data-testid="stMetricValue"] { font-size: 2.6rem; }
[data-testid="stMain"] .stMarkdownBadge { font-size: 1.5rem !important; }
.st-key-of-what { padding-right: 17rem; }
.st-key-of-what p { font-size: 1rem !important; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.st-key-leave-presenting { position: fixed; top: 0.5rem; right: 1rem; width: auto !important; z-index: 100; }
.st-key-leave-presenting p { font-size: 0.9rem !important; }
</style>"""

_FOLDED = """<style>
.st-key-folded { position: fixed; top: 0.5rem; right: 8rem; width: 10rem !important; z-index: 99; background: PAPER; }
.st-key-folded:has(details[open]) { width: min(70rem, 80vw) !important; }
</style>"""


def presenting() -> bool:
    """Whether presenter mode is on."""
    return bool(st.session_state.get("present"))


def folded() -> DeltaGenerator:
    """Where a page's controls stand: in a talk folded, beside the button that leaves it."""
    if not presenting():
        return st.container()
    paper = "#12161C" if st.context.theme.type == "dark" else "#FFFFFF"
    st.html(_FOLDED.replace("PAPER", paper))
    return st.container(key="folded").expander("Controls", icon=":material/tune:")


def begin_headline() -> None:
    """In the head of a page: the place under its title, which takes no room until something is said there."""
    st.session_state.headline = st.container() if presenting() else None


def headline() -> DeltaGenerator:
    """Where the page's answer stands: in a talk under the title, else here."""
    return st.session_state.get("headline") or st.container()


def switch() -> None:
    """The switch in the sidebar, bound to the link."""
    help_ = "For a talk: no sidebar, larger figures and text. Escape, or the button at the top right, ends it."
    if "present" not in st.session_state and st.session_state.get("arrival", {}).get("present") == ["true"]:
        st.session_state.present = True  # the first link after a start is read before the switch is bound to it
    st.toggle("Presenter mode", key="present", bind="query-params", help=help_)


def draw() -> None:
    """The looks of presenter mode, and the button that leaves it; nothing when it is off."""
    if presenting():
        st.html(_LOOKS)
        st.button("Leave", key="leave-presenting", on_click=set_controls, args=({"present": False},), shortcut="Esc")
