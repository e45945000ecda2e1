"""Prepare my talk: all that the story and presets show is computed beforehand, in one job with one progress bar.

It goes on when the browser is closed; whoever opens it again sees how far it is. On a shared demo each visitor has one
of their own::

    prepare_my_talk(experiment)               # folded; None: without a story
"""

import streamlit as st

from ntkcore import data
from ntkcore.runs import demo
from ntkcore.runs.presets import FRONT, PRESETS
from ntkcore.runs.specs import Experiment
from ntkcore.runs.talk import ready_in_words, talk_specs
from pages.ui.shell.plain import plain
from pages.ui.shell.results import at_a_click, visitor
from pages.ui.shell.services import services

JOB = "talk"
STORY = "The story of the current experiment"


def prepare_my_talk(experiment: Experiment | None) -> None:
    """Choose what is shown, be told what it costs, have it computed; unfolded for whoever comes while it is."""
    name = JOB if demo.setting() is None else f"{JOB}-{visitor()}"
    job = services().worker.job(name)
    busy = job is not None and not job.finished
    if busy:
        st.session_state.setdefault("prepare", True)
    with st.expander("Prepare my talk", icon=":material/slideshow:", key="prepare", on_change="rerun") as place:
        if place.open:
            _choose(name, experiment, busy)


def _choose(name: str, experiment: Experiment | None, busy: bool) -> None:
    titles = {PRESETS[name].title: PRESETS[name] for name in FRONT}
    told = experiment is not None and experiment.attack.eps > 0 and data.info(experiment.data).present
    options = [*([STORY] if told else []), *titles]
    chosen = st.multiselect("What I want to show", options, options, key="talk-shows", disabled=busy)
    if not chosen:
        st.caption("Choose something that you want to show.")
        return
    story, presets = experiment if STORY in chosen else None, [titles[one] for one in chosen if one != STORY]
    st.caption(
        "Computes what is still missing of the story's seven screens and of the pages that each preset opens. It goes "
        "on when this page is closed, and what was finished stays."
    )
    wanted, advice = talk_specs(story, presets), "Show less, or let it run overnight: it can be stopped, and goes on."
    if at_a_click(name, wanted, "all that the talk shows", "Prepare my talk", advice):
        st.success(plain(ready_in_words(story is not None, len(presets))), icon=":material/check_circle:")
