"""Who computes, on the Runs page: the workers of the scheduler that NTK_SCHEDULER names, and their tiles.

::

    who_computes()         # nothing where no scheduler is named
"""

import streamlit as st

from ntkcore.runs import scheduler
from pages.ui.shell.plain import plain
from pages.ui.shell.services import services

EVERY = 2.0  # seconds


def who_computes() -> None:
    """The run under way, else the last one, whose tiles were computed by workers."""
    if scheduler.setting() is not None:
        _who_computes()


@st.fragment(run_every=EVERY)
def _who_computes() -> None:
    helped = [job for job in services().worker.jobs() if job.team is not None]
    if not helped:
        name = plain(scheduler.setting())
        st.caption(f"Workers: {name} computes long kernels, sweeps and nets. Not asked since this app was started.")
        return
    job, team = helped[-1], helped[-1].team
    assert team is not None  # of those
    when = "Last with workers" if job.finished else "Under way"
    sentence = f"{when}: {plain(job.request.get('what', job.key))}. {plain(team.in_words())}"
    if team.problem:
        st.warning(sentence)
        return
    st.markdown(sentence)
    if team.done:
        with st.expander("Tiles by worker"):
            done = dict(sorted(team.done.items()))
            st.dataframe({"Worker": list(done), "Tiles done": list(done.values())}, hide_index=True)
