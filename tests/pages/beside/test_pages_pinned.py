"""A pinned experiment beside the current one: both of their own numbers, what differs, and links that carry it."""

from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.runs.specs import Experiment, lengthen, shorten
from ntkcore.runs.stages import read_curves
from ntkcore.runs.store import Store
from visits import charts, complaints, drawn, of_shares, press, select, side_by_side, stored, text

Open = Callable[..., AppTest]
OF_SMALL = "data.n_train=60&data.n_test=20"


def test_numbers_are_those_of_the_two_alone(opened: Open) -> None:
    at = opened("eigenfeatures", {"pin": f"{OF_SMALL}&net.depth=3", "eps": "4"})
    assert complaints(at) == []
    now, other = at.session_state.experiment, lengthen(at.session_state.pin)
    assert (now.net.depth, other.net.depth, other.attack.eps) == (1, 3, 8 / 255)
    judged = [read_curves(stored(one.curves())) for one in (now, other)]
    lines, attacks = drawn(at, "bands"), [str(one.attack) for one in (now, other)]
    for one, attack, prefix in zip(judged, attacks, ("", "pinned, "), strict=True):
        np.testing.assert_allclose(lines[f"{prefix}clean"], one["bands"].before.mean(0), atol=1e-6)
        np.testing.assert_allclose(lines[f"{prefix}under {attack}"], one["bands"].after.mean(0), atol=1e-6)
    rows = side_by_side(at)
    assert rows["Depth"][:2] == ["1", "3"]
    assert rows["Radius, in steps of 1/255"][:2] == ["4", "8"]
    assert "Architecture" not in rows
    first, second = (one["top"] for one in judged)
    assert rows["All features together, right"] == of_shares(first.before[:, -1], second.before[:, -1])
    assert rows["All features together, right under attack"] == of_shares(first.after[:, -1], second.after[:, -1])
    assert "over-null-pinned" in " ".join(charts(at))  # bars: below each other


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("overview", ("Right", "Right under the attack", "Right under PGD of the same radius")),
        ("attack", ("Right", "Right under the attack")),
    ],
)
def test_accuracies_are_those_of_the_two_alone(page: str, names: tuple[str, ...], opened: Open) -> None:
    """Of other test images, here a draw, the interval is not paired, and the page says so."""
    at = opened(page, {"pin": f"{OF_SMALL}&data.seed=5", "eps": "4"})
    found = [stored(one.predict()).arrays for one in (at.session_state.experiment, lengthen(at.session_state.pin))]
    rows = side_by_side(at)
    for name, array in zip(names, ("right", "attack_right", "pgd_right"), strict=False):
        first, second = (arrays[array].double().numpy() for arrays in found)
        assert rows[name] == of_shares(first, second, paired=False)
    assert "The test images are not the same" in text(at)


def test_spectra_are_those_of_the_two_alone(opened: Open) -> None:
    at = opened("spectrum", {"pin": f"{OF_SMALL}&net.depth=3"})
    lines = drawn(at, "eigenvalues")
    for one, name in ((at.session_state.experiment, ""), (lengthen(at.session_state.pin), "pinned, ")):
        values = stored(one.spectrum()).arrays["values"].numpy()
        np.testing.assert_allclose(lines[f"{name}all features"], values, rtol=1e-6)
    at.selectbox(key="depth").set_value(3).run()
    at.number_input(key="eps").set_value(3.0).run()
    assert "Nothing that this page shows differs" in at.info[0].value


def test_pin_change_move_and_unpin(opened: Open) -> None:
    at = opened("eigenfeatures")
    pinned = at.session_state.experiment
    at.button(key="pin-it").click().run()
    assert at.session_state.pin == shorten(pinned)
    assert "Nothing differs from the pinned experiment" in at.info[0].value
    at.number_input(key="n").set_value(50).run()
    at.switch_page("pages/runs.py").run()
    assert lengthen(at.session_state.pin) == pinned
    assert any("Pinned: FC(1), eps 8/255, n = 60" in caption.value for caption in at.sidebar.caption)
    at.button(key="unpin").click().run()
    assert not at.session_state.pin
    assert at.button(key="pin-it").label == "Pin this experiment"


@pytest.mark.parametrize(
    ("pin", "words"),
    [
        pytest.param("net.depth=99", "depth is 99; it must be at most 20", id="out-of-bounds"),
        pytest.param("<script>alert(1)</script>", "is not the short form of an experiment", id="markup"),
        pytest.param("data.classes=[1", "classes", id="broken-list"),
        pytest.param("x" * 5000, "is not the short form of an experiment", id="long"),
    ],
)
def test_a_wrong_link_is_a_sentence(pin: str, words: str, opened: Open) -> None:
    at = opened("runs", {"pin": pin})
    assert not at.exception
    (warning,) = complaints(at)
    assert words in warning
    assert "link's pin could not be used" in warning
    assert isinstance(at.session_state.experiment, Experiment)
    at.button(key="unpin").click().run()
    assert complaints(at) == []


def test_a_run_is_pinned_and_named(opened: Open) -> None:
    """A name and a note are shown in the list; of two sessions the later one is told what the earlier one wrote."""
    opened("spectrum", {"draw": "31"})
    entry = max((one for one in Store().entries() if one.stage == "spectrum"), key=lambda one: one.created)
    sessions = []
    for _ in range(2):
        at = opened("runs")
        listed = list(at.dataframe[0].value["What"])
        sessions.append(select(at, "runs", rows=[listed.index(entry.words)]))
    for at, name in zip(sessions, ("mine", "yours"), strict=True):
        at.text_input(key=f"run-name-spectrum-{entry.key}").set_value(name)
        at.text_area(key=f"run-note-spectrum-{entry.key}").set_value(f"{name}, in words")
        press(at, "Save")
    first, second = sessions
    assert [error.value for error in first.error] == []
    assert "mine: mine, in words" in second.error[0].value
    press(second, "Save")
    assert [error.value for error in second.error] == []
    assert list(second.dataframe[0].value["Name"]).count("yours") == 1
    assert any("**mine** mine, in words" in one.value for one in second.markdown)
    press(second, "Pin")
    assert lengthen(second.session_state.pin).data.seed == 31
    assert Store().verify().ok
