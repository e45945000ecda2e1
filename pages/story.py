"""The paper in its claims, one a screen: the claim, one figure, one number, and a verdict on the chosen data."""

import streamlit as st

from ntkcore.errors import NTKError
from ntkcore.readings.verdicts import VERDICTS, Judgement
from ntkcore.runs.claims import CLAIMS, Claim
from ntkcore.runs.presets import FRONT, PRESETS, Preset
from ntkcore.runs.report import report
from ntkcore.runs.specs import Experiment, shorten
from ntkcore.runs.store import Artifact
from ntkcore.runs.talk import story_specs
from pages.ui.controls import sidebar
from pages.ui.sections.beside import beside
from pages.ui.sections.samples import task_of
from pages.ui.sections.talk import prepare_my_talk
from pages.ui.shell.links import go_to, set_controls
from pages.ui.shell.page import page
from pages.ui.shell.plain import plain
from pages.ui.shell.present import presenting
from pages.ui.shell.results import prepare, wait_in_words
from pages.ui.shell.services import services, stored
from pages.ui.shell.share import copy_link
from pages.ui.shell.show import cached_figure, cached_judgement, chart, dark
from pages.ui.shell.terms import note, say

# The verdicts' colours, legible on light and dark; the word says the same.
COLOURS = dict(zip(VERDICTS, ("green", "orange", "red", "gray"), strict=True))
END = "All verdicts"
SCREENS = [*(str(number) for number in range(1, len(CLAIMS) + 1)), END]

experiment = page("Story", "What does the paper claim, and does it hold here?", words=Experiment.in_words)
task_of(experiment)


def _turn(by: int) -> None:
    at = SCREENS.index(st.session_state.claim) + by
    st.session_state.claim = SCREENS[min(max(at, 0), len(SCREENS) - 1)]


def _results(claim: Claim, e: Experiment = experiment) -> dict[str, Artifact] | None:
    """The results of a claim by name; None unless all are there."""
    found = {name: stored(spec) for name, spec in claim.specs(e).items()}
    return None if None in found.values() else {name: one for name, one in found.items() if one is not None}


def _judged(claim: Claim, found: dict[str, Artifact], e: Experiment = experiment) -> Judgement:
    return cached_judgement(f"{claim.name} {_stamp(found, e)}", lambda: claim.judge(e, found))


def _stamp(found: dict[str, Artifact], e: Experiment = experiment) -> str:
    return f"{e.attack} {' '.join(artifact.key for artifact in found.values())}"


def _badge(verdict: str) -> None:
    st.markdown(f"### :{COLOURS[verdict]}-badge[{verdict}]")


def _unbroken(number: str) -> str:
    """As Markdown; a line never begins with the percent sign."""
    return plain(number).replace(" %", "\u00a0%")


def _screen(number: int, claim: Claim) -> None:
    """One claim: the figure at the left; at the right the claim, the number, the verdict and where to see more."""
    found = _results(claim)
    with st.container(key="screen"):
        wide, narrow = st.columns([10, 3] if presenting() else [2, 1], gap="medium" if presenting() else "large")
    with narrow:
        say(f"### {number}. {claim.title}")
        if found is not None:
            judged = _judged(claim, found)
            st.markdown(f"# {_unbroken(judged.number)}")
            say(plain(judged.of_what))
            _badge(judged.verdict)
            say(plain(judged.reason))
        say(f"*{claim.look_at}*")
        script, name = claim.page
        controls = claim.controls(experiment, found) if found is not None else {}
        wait = wait_in_words(*claim.closer(experiment))
        label = f"Look closer: {name}{f' ({wait})' if wait else ''}"
        st.button(label, key="look-closer", on_click=go_to, args=(script,), kwargs=controls)
    with wide:
        if found is None:
            st.info("This screen is drawn when its results are there.")
        else:
            night = dark()
            stamp = f"story {claim.name} {_stamp(found)} {night}"
            figure = cached_figure(stamp, lambda: claim.figure(experiment, found, night))
            chart(figure, claim.name, key=f"story-{claim.name}")
    with st.expander("How this was judged"):
        say(claim.rule)


def _end() -> None:
    """All verdicts side by side, for the data and the architecture of the sidebar; the pinned experiment's below."""
    st.markdown("### Which of the paper's claims hold here")
    both = beside(experiment, story_specs)
    if both.pinned is not None:
        note(f"Below each verdict that of the pinned experiment: {plain(both.names[1])}.")
        prepare(story_specs(both.pinned), f"the claims of the story (pinned: {both.names[1]})")
    for start in range(0, len(CLAIMS), 4):
        places = st.columns(4)
        for i, claim in enumerate(CLAIMS[start : start + 4], start + 1):
            with places[i - start - 1].container(border=True, height="stretch"):
                _card(i, claim, both.pinned)
    _other_data()
    with st.container(horizontal=True, vertical_alignment="center"):
        if not any(_results(claim) is None for claim in CLAIMS):
            st.download_button(
                "Save as a report (HTML)",
                lambda: report(experiment, services().store),
                "report.html",
                on_click="ignore",
                key="report",
                icon=":material/download:",
            )
        copy_link()
    prepare_my_talk(experiment)


def _card(number: int, claim: Claim, other: Experiment | None) -> None:
    """A claim's number, what it is of, its verdict and the reason; of another experiment what there is already."""
    st.markdown(f"**{number}. {claim.title}**")
    found = _results(claim)
    if found is None:
        note("Not computed yet.")
    else:
        judged = _judged(claim, found)
        st.markdown(f"### {_unbroken(judged.number)}")
        note(plain(judged.of_what))
        _badge(judged.verdict)
        note(plain(judged.reason))
    if other is not None and (before := _results(claim, other)) is not None:
        judged = _judged(claim, before, other)
        note(f"Pinned: **{plain(judged.number)}** {plain(judged.of_what)}")
        st.markdown(f":{COLOURS[judged.verdict]}-badge[{judged.verdict}]")


def _other_data() -> None:
    """Ways to the same story on the data of another preset that comes with the project, this one pinned beside it."""
    st.markdown("**Compare with another data set**")
    with st.container(horizontal=True):
        for preset in (PRESETS[name] for name in FRONT):
            spec = preset.experiment.data
            if preset.story is None and preset.evolution is None and spec != experiment.data:
                key = f"story-on-{preset.name}"
                st.button(preset.title, key=key, on_click=_tell_of, args=(preset,), icon=":material/compare:")


def _tell_of(preset: Preset) -> None:
    """The sidebar takes a preset's images, and what stood there is pinned."""
    set_controls({"pin": shorten(experiment)})
    try:
        sidebar.apply(experiment.replace(data=preset.experiment.data))
    except NTKError:  # the architecture does not fit such images
        sidebar.apply(preset.experiment)


with st.container(horizontal=True, vertical_alignment="center"):
    turn = {"on_click": _turn, "width": "content"}
    st.button("Back", key="story-back", args=(-1,), shortcut="Left", **turn)
    st.button("Next", key="story-next", args=(1,), shortcut="Right", type="primary", **turn)
    screen = st.segmented_control(
        "Screen of the story",
        SCREENS,
        default=SCREENS[0],  # also after Back to an address without it
        key="claim",
        bind="query-params",
        required=True,
        label_visibility="collapsed",
    )
if experiment.attack.eps == 0:
    st.info("The claims are judged under an attack. Choose a radius above 0 in the sidebar.")
else:
    prepare(story_specs(experiment), "the claims of the story")
    if screen == END:
        _end()
    else:
        _screen(int(screen), CLAIMS[int(screen) - 1])
