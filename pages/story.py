"""The paper in its claims, one a screen: the claim, one figure, one number, and a verdict on the chosen data."""

import streamlit as st

from ntkcore.readings.verdicts import VERDICTS
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.specs import Experiment
from pages.ui.sections.samples import task_of
from pages.ui.shell.page import page
from pages.ui.shell.plain import plain
from pages.ui.shell.results import need_all
from pages.ui.shell.show import cached_figure, chart, dark

# The verdicts' colours: text and badge, legible on light and dark.
BADGES = dict(zip(VERDICTS, ("green", "orange", "red", "gray"), strict=True))

experiment = page("Story", "What does the paper claim, and does it hold here?", words=Experiment.in_words)
task_of(experiment)


def _turn(by: int) -> None:
    st.session_state.claim = min(max(st.session_state.claim + by, 1), len(CLAIMS))


st.session_state.setdefault("claim", 1)
number = st.segmented_control(
    "Claim",
    range(1, len(CLAIMS) + 1),
    key="claim",
    bind="query-params",
    required=True,
    label_visibility="collapsed",
)
claim = CLAIMS[number - 1]
wanted = {(one.name, name): spec for one in CLAIMS for name, spec in one.specs(experiment).items()}
everything = need_all(wanted, "the claims of the story")
found = {name: artifact for (of, name), artifact in everything.items() if of == claim.name}
there = len(found) == len(claim.specs(experiment))
wide, narrow = st.columns([2, 1], gap="large")
with narrow:
    st.markdown(f"## {number}. {claim.title}")
    if there:
        judged = claim.judge(experiment, found)
        st.markdown(f"# {plain(judged.number)}")
        st.markdown(plain(judged.of_what))
        st.badge(judged.verdict, color=BADGES[judged.verdict])
        st.markdown(plain(judged.reason))
    st.markdown(f"*{claim.look_at}*")
    st.page_link(claim.page[0], label=f"Look closer: {claim.page[1]}", icon=":material/arrow_forward:")
if there:
    night, keys = dark(), " ".join(artifact.key for artifact in found.values())
    with wide:
        figure = cached_figure(f"story {claim.name} {keys} {night}", lambda: claim.figure(experiment, found, night))
        chart(figure, claim.name, key=f"story-{claim.name}")
back, forward, _ = st.columns([1, 1, 4])
back.button("Back", key="story-back", on_click=_turn, args=(-1,), shortcut="Left", disabled=number == 1)
forward.button(
    "Next",
    key="story-next",
    on_click=_turn,
    args=(1,),
    shortcut="Right",
    disabled=number == len(CLAIMS),
    type="primary",
)
with st.expander("How this was judged"):
    st.markdown(claim.rule)
