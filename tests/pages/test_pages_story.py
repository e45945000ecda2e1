"""The story: each claim with its figure, its number and its verdict, in the state that the link names."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.readings.verdicts import VERDICTS
from ntkcore.runs.claims import CLAIMS
from pages.ui.shell.plain import plain
from visits import charts, complaints, stored, text

Open = Callable[..., AppTest]


@pytest.mark.parametrize("number", range(1, len(CLAIMS) + 1))
def test_claim(number: int, opened: Open) -> None:
    at = opened("story", {"claim": str(number)})
    assert not at.exception
    assert complaints(at) == []
    claim, e = CLAIMS[number - 1], at.session_state.experiment
    assert [key.endswith(f"-story-{claim.name}") for key in charts(at)] == [True]
    judged = claim.judge(e, {name: stored(spec) for name, spec in claim.specs(e).items()})
    words = text(at)
    assert f"{number}. {claim.title}" in words
    assert plain(judged.number) in words
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
    assert "What holds of the paper here" in text(at)
    assert all(claim.title in text(at) for claim in CLAIMS)
    at.button(key="story-back").click().run()
    assert at.session_state.claim == str(len(CLAIMS))
