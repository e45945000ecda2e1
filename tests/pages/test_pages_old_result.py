"""While a new result is not there, the page shows the last one, in its own words, and computes nothing for it."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.runs import consent
from ntkcore.runs.specs import StageSpec
from ntkcore.runs.store import Artifact
from pages.ui.shell import results
from pages.ui.shell.services import services
from visits import CHARTS, RESULTS, charts, complaints, press, run_until_ready, text

Open = Callable[..., AppTest]
CHEAP = ("overview", "spectrum", "attack")  # to compute
BELOW = "Below, the last result, until there is a new one: "


def below(at: AppTest) -> list[str]:
    return [caption.value.removeprefix(BELOW) for caption in at.main.caption if caption.value.startswith(BELOW)]


@pytest.fixture
def by_hand(opened: Open, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Open a page with its results; what is asked for afterwards waits for its Run button."""

    def visit(page: str, query: dict) -> AppTest:
        at = opened(page, query)
        monkeypatch.setattr(consent, "AUTOMATIC", -1.0)
        return at

    return visit


@pytest.mark.parametrize("page", RESULTS)
def test_the_old_result_stays_until_the_new_one_is_there(page: str, by_hand: Callable[..., AppTest]) -> None:
    at = by_hand(page, {"draw": str(70 + RESULTS.index(page))})
    assert below(at) == []
    before = len(services().worker.jobs())
    at.number_input(key="n").set_value(50).run()
    assert not at.exception
    assert "50 training" in at.main.caption[0].value
    (words,) = below(at)
    assert "60 training" in words
    assert charts(at) == CHARTS[page]
    assert complaints(at) == []
    assert len(services().worker.jobs()) == before  # nothing has begun, for the old result neither
    assert [button.label for button in at.main.button].count("Run") == 1
    if page in CHEAP:
        run_until_ready(at)
        assert below(at) == []
        assert charts(at) == CHARTS[page]


def test_a_result_that_comes_between_two_looks(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page asks for it while the worker is about to store it, and asks again a moment later."""
    opened("spectrum", {"draw": "78", "n": "50"})
    at = opened("spectrum", {"draw": "78"})
    found, missed = results.stored, []

    def late(spec: StageSpec) -> Artifact | None:
        if not missed and "50 training" in spec.in_words():
            missed.append(spec)
            return None
        return found(spec)

    monkeypatch.setattr(results, "stored", late)
    run_until_ready(at.number_input(key="n").set_value(50).run())
    assert missed
    assert "50 training" in at.main.caption[0].value
    assert charts(at) == CHARTS["spectrum"]


@pytest.mark.parametrize("page", ["overview", "eigenfeatures", "attack"])
def test_old_numbers_stand_under_their_own_attack(page: str, by_hand: Callable[..., AppTest]) -> None:
    at = by_hand(page, {"draw": str(80 + RESULTS.index(page)), "eps": "8"})
    head = at.main.caption[0].value
    said = [line for line in text(at).splitlines() if "8/255" in line and line != head]
    at.number_input(key="eps").set_value(9.0).run()
    assert "9/255" in at.main.caption[0].value
    (words,) = below(at)
    assert "8/255" in words
    now = text(at).splitlines()
    assert [line for line in now if "9/255" in line] == [at.main.caption[0].value]
    assert [line for line in now if "8/255" in line and line != head and not line.startswith(BELOW)] == said


def dimmed(at: AppTest) -> bool:
    return any("opacity" in one.value for one in at.html)


def test_it_stays_when_the_new_one_is_cancelled(by_hand: Callable[..., AppTest]) -> None:
    """And is no longer dimmed: nothing is on its way any more."""
    at = by_hand("spectrum", {"draw": "63"})
    at.number_input(key="m").set_value(300)
    at.number_input(key="n").set_value(1000)
    at.segmented_control(key="net").set_value("Conv").run()
    press(at, "Run")
    assert dimmed(at)
    for job in services().worker.jobs():
        job.cancel()
        assert job.wait(10)
    at.run()
    assert not at.exception
    assert at.main.info[0].value.startswith("Cancelled: ")
    assert len(below(at)) == 1
    assert charts(at) == CHARTS["spectrum"]
    assert not dimmed(at)
