"""The frame of every page: its question in one line, notices, and what to do when something goes wrong.

::

    from pages.ui.page import page
    experiment = page("Spectrum", "Which directions does the kernel learn first?")
"""

import streamlit as st

from ntkcore.runs.specs import Experiment
from pages.ui import sidebar
from pages.ui.navigation import enter
from pages.ui.services import services


def page(title: str, question: str) -> Experiment:
    """Draw the head of a page and return the experiment; stops with a sentence when there is none."""
    enter()
    st.title(title, anchor=False)
    st.markdown(f"#### {question}")
    notice = sidebar.notice()
    if notice and st.session_state.setdefault("arrived_at", title) == title:
        st.warning(notice, icon=":material/link_off:")
    incidents = services().store.incidents()
    for incident in incidents:
        st.warning(str(incident), icon=":material/healing:")
    if incidents:
        st.button("Dismiss", on_click=services().store.clear_incidents)
    _follow_theme(st.context.theme.type)
    experiment = sidebar.experiment()
    st.caption(experiment.in_words())
    return experiment


@st.fragment(run_every=2.0)
def _follow_theme(drawn: str | None) -> None:
    """Draw the page anew when the reader has changed the theme: figures carry their colours themselves."""
    if st.context.theme.type != drawn:
        st.rerun()
