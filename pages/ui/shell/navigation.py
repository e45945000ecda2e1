"""The pages of the app, in order, their menu, and the entries that moves make in the browser's history.

Until ``st.navigation`` has run once in the server process, Streamlit takes the folder ``pages/`` for an app of the old
kind and would run a page without ``app.py`` around it. So every page begins with ``enter()``: on such a first visit
it declares the pages and starts over, with the link's values intact.
"""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

ABOUT = (
    "What the neural tangent kernel says about adversarial robustness, after N. Tsilivis and J. Kempe, "
    "*What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?*, NeurIPS 2022."
)
# A perturbed square. Streamlit would fetch a named icon for the browser's tab from the network.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" rx="1.5" fill="#0072B2"/>'
    '<path d="M2 2h2v2h-2zM4 4h2v2h-2z" fill="#fff"/><path d="M4 2h2v2h-2zM2 4h2v2h-2z" fill="#E69F00"/></svg>'
)

# Streamlit makes an entry in the browser's history of every change that the server makes in the address: on a move one
# for the parameters that are left behind, written over the old page's, one for the new page, one for each value that is
# restored there. Here a move is one entry: what follows a click makes one at most, by a change of the page, or by a
# control that is a MOVE, of which the arrow keys are those of the story's screens; the page that is left keeps the
# address that it had at the click.
MOVES = (  # controls that bring another view of the same page
    '[class*="st-key-preset-"], .st-key-infinite, .st-key-story-back, .st-key-story-next, .st-key-claim'
)
ONE_ENTRY_A_MOVE = f"""<script>
if (!window.oneEntryAMove) {{
  window.oneEntryAMove = true;
  const push = history.pushState.bind(history), replace = history.replaceState.bind(history);
  let left = location.href, moves = false, moved = false;
  const to = (url) => new URL(url ?? "", location.href);
  history.replaceState = (state, title, url) => {{  // a control writes its own value so
    const turns = moves && !moved && to(url).pathname === location.pathname && to(url).search !== location.search;
    return turns ? history.pushState(state, title, url) : replace(state, title, url);
  }};
  history.pushState = (state, title, url) => {{
    const stays = to(url).pathname === location.pathname;
    if (moved || (stays && !moves)) return replace(state, title, url);
    if (new URL(left).pathname === location.pathname) replace(history.state, "", left);
    push(state, title, url);
    moved = true;
  }};
  const begin = (turns) => {{
    left = location.href;
    moves = turns;
    moved = false;
  }};
  const clicked = (event) => {{
    if (event.detail < 2) begin(event.target.closest?.('{MOVES}') != null);  // a double click is one
  }};
  for (const kind of ["mouseup", "click"]) addEventListener(kind, clicked, true);
  addEventListener("keydown", (event) => {{
    const turns = ["ArrowLeft", "ArrowRight"].includes(event.key) && document.querySelector(".st-key-story-next");
    if (turns && !event.target.closest?.("input, textarea, [role=slider]")) begin(true);
  }}, true);
  addEventListener("popstate", () => {{ moved = true; }});  // Back makes no entry
}}
</script>"""


def pages() -> list:
    """The pages in the order of the menu."""
    return [
        st.Page("pages/overview.py", title="Overview", icon=":material/home:", default=True),
        st.Page("pages/story.py", title="Story", icon=":material/auto_stories:"),
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


def enter() -> None:
    """First line of every page; see the module's text."""
    if "arrival" not in st.session_state:
        st.set_page_config(page_icon=ICON)
        st.navigation(pages(), position="hidden")
        st.rerun()
