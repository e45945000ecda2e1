"""The story: each claim with its figure, its number and its verdict, in the state that the link names; and Prepare my
talk: chosen, told its cost, computed in one job that every session finds."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.readings.verdicts import VERDICTS
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.presets import FRONT, PRESETS, Preset
from ntkcore.runs.specs import key, lengthen
from ntkcore.runs.stages import result
from ntkcore.runs.talk import preset_specs, ready_in_words, story_specs, talk_specs
from pages.ui.controls.sidebar import EXPERIMENT
from pages.ui.sections.talk import JOB, STORY
from pages.ui.shell.links import in_address
from pages.ui.shell.plain import plain
from pages.ui.shell.services import services
from visits import CHARTS, charts, complaints, press, progress, stored, text, working

Open = Callable[..., AppTest]


@pytest.mark.parametrize("number", range(1, len(CLAIMS) + 1))
def test_claim(number: int, opened: Open) -> None:
    at = opened("story", {"claim": str(number), "eps": "4"})
    assert not at.exception
    assert complaints(at) == []
    claim, e = CLAIMS[number - 1], at.session_state.experiment
    assert [key.endswith(f"-story-{claim.name}") for key in charts(at)] == [True]
    judged = claim.judge(e, {name: stored(spec) for name, spec in claim.specs(e).items()})
    words = text(at)
    assert f"{number}. {claim.title}" in words
    assert plain(judged.number).replace(" %", "\u00a0%") in words
    assert judged.verdict in VERDICTS
    assert f"badge[{judged.verdict}]" in words
    assert claim.rule in words


def test_without_an_attack_nothing_is_judged(opened: Open) -> None:
    at = opened("story", {"eps": "0"})
    assert not at.exception
    assert charts(at) == []
    assert [info.value for info in at.info] == [
        "The claims are judged under an attack. Choose a radius above 0 in the sidebar."
    ]


def test_the_screen_of_all_verdicts_is_a_link(opened: Open) -> None:
    at = opened("story", {"claim": "All verdicts"})
    assert complaints(at) == []
    assert not at.exception
    assert "Which of the paper's claims hold here" in text(at)
    assert all(claim.title in text(at) for claim in CLAIMS)
    at.button(key="story-back").click().run()
    assert at.session_state.claim == str(len(CLAIMS))


def test_the_story_of_another_data_set_is_one_click_away(opened: Open) -> None:
    """The other preset's images under the same attack; what stood there is pinned, its verdicts below the new ones."""
    at = opened("story", {"claim": "All verdicts", "eps": "4"})
    before = at.session_state.experiment
    assert "story-on-shoes" in [button.key for button in at.main.button]
    at.button(key="story-on-shoes").click().run()
    assert not at.exception
    now = at.session_state.experiment
    assert now == before.replace(data=PRESETS["shoes"].experiment.data)
    assert lengthen(at.session_state.pin) == before
    for claim in CLAIMS:
        judged = claim.judge(before, {name: stored(spec) for name, spec in claim.specs(before).items()})
        assert f"Pinned: **{plain(judged.number)}** {plain(judged.of_what)}" in text(at), claim.name


# -- prepare my talk -------------------------------------------------------------------------------------------------


def prepared(at: AppTest, *chosen: str) -> AppTest:
    """The section unfolded, with this to be shown."""
    at.session_state["prepare"] = True
    at.run()
    at.multiselect(key="talk-shows").set_value(list(chosen)).run()
    assert not at.exception
    return at


@pytest.mark.parametrize(
    ("story", "presets", "words"),
    [
        (
            True,
            6,
            "All seven claims and 6 presets are ready. Other images and features are drawn when asked for.",
        ),
        (True, 0, "All seven claims are ready. Other images and features are drawn when asked for."),
        (False, 1, "1 preset is ready. Other images and features are drawn when asked for."),
    ],
    ids=["all", "story", "preset"],
)
def test_it_is_said_what_is_ready(story: bool, presets: int, words: str) -> None:
    assert ready_in_words(story, presets) == words


def test_each_result_is_wanted_once() -> None:
    e, presets = PRESETS["start"].experiment, [PRESETS[name] for name in FRONT]
    names = [key(spec) for spec in talk_specs(e, presets)]
    assert len(set(names)) == len(names)
    assert set(names) == {key(spec) for spec in (*story_specs(e), *(s for one in presets for s in preset_specs(one)))}


def test_what_is_shipped_is_ready(opened: Open) -> None:
    """The default experiment's story comes with the project."""
    at = prepared(
        opened("story", {"n": "1000", "m": "2000", "size": "full", "claim": "All verdicts"}, wait=False), STORY
    )
    assert at.success[0].value == ready_in_words(True, 0)
    assert "Prepare my talk" not in [button.label for button in at.main.button]


def test_one_job_that_every_session_finds(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by its button alone; another session sees it run, and is not told that it was cancelled here."""
    title = PRESETS["toy"].title
    monkeypatch.setattr(services().store, "shipped", None)
    at = prepared(opened("overview", wait=False), title)
    assert services().worker.job(JOB) is None
    press(at, "Prepare my talk")
    assert any("all that the talk shows" in bar.proto.text for bar in progress(at))
    other = opened("overview", in_address(EXPERIMENT.values(PRESETS["toy"].experiment)), wait=False)
    waits = [bar for bar in progress(other) if "all that the talk shows" in bar.proto.text]
    assert len(waits) == len([one for one in other.button if one.label == "Cancel"]) > 1  # the page's own results, too
    assert other.multiselect(key="talk-shows").disabled
    other = opened("spectrum", {"draw": "97"}, wait=False)
    press(other, "Run")
    assert "waiting for: all that the talk shows" in progress(other)[0].proto.text
    job = services().worker.job(JOB)
    at.button(key=f"cancel-{JOB}").click().run()
    assert job.wait(10)
    at.run()
    assert any(info.value.startswith("Cancelled: all that the talk shows") for info in at.info)
    fresh = prepared(opened("overview", wait=False), title)
    assert not any(info.value.startswith("Cancelled") for info in fresh.info)
    assert "Prepare my talk" in [button.label for button in fresh.main.button]


def test_on_a_shared_demo_each_visitor_prepares_a_talk_of_their_own(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became of the others' is not shown."""
    failed = services().worker.submit(JOB, {"stage": "none", "spec": {}, "what": "nonsense"})
    assert failed.wait(60)
    monkeypatch.setenv("NTK_DEMO", "seconds=1e9")
    at = prepared(opened("overview", wait=False), PRESETS["toy"].title)
    assert complaints(at) == []
    assert "Prepare my talk" in [button.label for button in at.main.button]


def test_the_pages_of_a_prepared_preset_compute_nothing(opened: Open) -> None:
    at = opened("runs", {"draw": "96"})
    e = at.session_state.experiment
    for spec in preset_specs(Preset("mine", "Mine", "Look.", e)):
        result(spec, services().store)
    for page in ("overview", "eigenfeatures"):
        at = opened(page, {"draw": "96"}, wait=False)
        asked = [info.value for info in at.main.info if ": about " in info.value]
        assert all(words.startswith("Pictures of the features") for words in asked), page
        assert not working(at)
        assert set(CHARTS[page]) - set(charts(at)) <= {"split"}, page  # of one such picture
