"""Every control both ways: a spec, what the controls show of it, the link to that, and the spec that the link opens."""

import ast
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.architectures import ARCHITECTURES
from ntkcore.data import SOURCES, DataSpec
from ntkcore.nets import ACTIVATIONS, FAMILIES
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.specs import OUTSIDE, REGIMES, Evolution, Experiment, NamedNet, NetSpec, Rule, Story, TwinNet, radii
from ntkcore.training import Schedule, Training
from pages.ui.controls.consistency import COMPARISON
from pages.ui.controls.evolution import EVOLUTION
from pages.ui.controls.sidebar import DEEPEST, EXPERIMENT, RATES
from pages.ui.controls.transfer import STORY, WIDTHS
from pages.ui.shell import links
from pages.ui.shell.links import in_address

COMPARED = ["FC(3)", "FC(1)", "Conv(4)"]


def controls_alone() -> None:
    """The sidebar and the controls of Transfer, Evolution and Consistency, without their pages."""
    import streamlit as st

    from pages.ui.controls import sidebar
    from pages.ui.controls.consistency import comparison_controls
    from pages.ui.controls.evolution import evolution_controls
    from pages.ui.controls.transfer import story_controls
    from pages.ui.shell.links import draw_receipt, judge_link, keep_controls, read_address, set_controls

    read_address("transfer")
    keep_controls()
    with st.sidebar:
        sidebar.draw("transfer")
    st.button("Set", on_click=lambda: set_controls(st.session_state.wanted))
    experiment = sidebar.experiment()
    made = experiment, story_controls(experiment), evolution_controls(experiment), comparison_controls(experiment)
    st.session_state.made = made
    judge_link(page_drawn=True)
    draw_receipt()


def opened_by(link: Mapping[str, str | list[str]]) -> AppTest:
    at = AppTest.from_function(controls_alone, default_timeout=30)
    for name, value in link.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception[0].message
    return at


def some_experiment(draw: random.Random) -> Experiment:
    name = draw.choice(list(SOURCES))
    known, family = SOURCES[name], draw.choice(list(FAMILIES))
    classes = draw.sample(known.classes, draw.randint(2, min(6, len(known.classes))))
    train, test = known.limits(classes)
    norm, random_start, attack = draw.choice(["linf", "l2"]), draw.random() < 0.5, draw.choice(["fgsm", "pgd"])
    eps = draw.randint(0, 255) / 255 if norm == "linf" else draw.randint(0, 400) / 100
    return Experiment(
        data=DataSpec(
            name=name,
            classes=classes,
            n_train=draw.randint(2 * len(classes), min(train, 5000)),
            n_test=draw.randint(1, min(test, 3000)),
            order=draw.choice(["balanced", "own"]),
            seed=draw.choice([None, draw.randrange(2**32)]),
            size=draw.choice([None, *(side for side in known.sizes if side >= 4)]),
        ),
        net=NetSpec(
            family=family,
            depth=draw.choice([depth for depth in FAMILIES[family].depths if depth <= DEEPEST]),
            W_std=round(draw.uniform(0.1, 3), 4),
            b_std=round(draw.uniform(0, 2), 3),
            activation=draw.choice(list(ACTIVATIONS)),
        ),
        kind=draw.choice(["ntk", "nngp"]),
        inputs=draw.choice(["raw", "centre", "standardise"]),
        precision=draw.choice(["float64", "float32"]),
        attack=fgsm(eps, norm)
        if attack == "fgsm"
        else pgd(eps, draw.randint(1, 200), norm=norm, random_start=random_start),
        ridge=round(draw.uniform(0, 5), 4),
        rule=Rule(fdr=draw.choice(RATES), keep=draw.randint(2, 20) * 0.05),
    )


def some_story(draw: random.Random, e: Experiment) -> Story:
    norm, tested = e.attack.norm, e.data.replace(n_test=draw.randint(1, e.data.n_test))
    return Story(
        kernel=e.replace(data=tested).ntk(),
        norm=norm,
        widths=tuple(draw.sample(WIDTHS, draw.randint(1, 6))),
        seeds=draw.randint(1, 5),
        eps=radii(draw.randint(0, 255) / 255 if norm == "linf" else draw.randint(0, 400) / 100),
        training=Training(
            lr=draw.randint(1, 3000) / 1000, momentum=draw.randint(0, 99) / 100, steps=draw.randint(1, 99)
        ),
        outside=tuple(draw.sample(OUTSIDE, draw.randint(0, 3))),
    )


def some_evolution(draw: random.Random, e: Experiment) -> Evolution:
    n, eps, norm = e.data.n_train, e.attack.eps, e.attack.norm
    nets = (
        NamedNet(name=draw.choice(list(ARCHITECTURES)), init=draw.choice(["he", "torch"])),
        TwinNet(net=e.net, width=draw.randint(1, 8192), parameterisation=draw.choice(["standard", "ntk"])),
    )
    loss, lr, momentum = (
        draw.choice(["cross_entropy", "squared"]),
        draw.randint(1, 999) / 1000,
        draw.randint(0, 99) / 100,
    )
    return Evolution(
        data=e.data,
        inputs=e.inputs,
        net=draw.choice(nets),
        regimes=tuple(draw.sample(REGIMES, draw.randint(1, 3))),
        seeds=draw.randint(1, 5),
        epochs=draw.randint(5, 20),
        schedule=Schedule(loss=loss, lr=lr, momentum=momentum, batch=draw.randint(1, 500)),
        fgsm=fgsm(eps, norm),
        pgd=pgd(eps, draw.randint(1, 200), eps * draw.choice([0.125, 0.25, 0.5]), norm=norm),
        every=draw.randint(1, 9),
        tested=draw.randint(1, e.data.n_test),
        judged=draw.randint(1, n),
        probe=draw.randint(2, n),
        attacked=draw.random() < 0.5,
        freeze=tuple(sorted(draw.sample(range(5), draw.randint(0, 3)))),
        solved_on=draw.randint(2, n),
        ridge=round(draw.uniform(0, 1), 4),
    )


@pytest.mark.parametrize("name", [*PRESETS, *range(24)])
def test_there_and_back(name: str | int) -> None:
    """Presets, and specs drawn at random: their link opens them, and so does a callback that sets the controls."""
    draw = random.Random(str(name))
    e = PRESETS[name].experiment if name in PRESETS else some_experiment(draw)
    story = (name in PRESETS and PRESETS[name].story) or some_story(draw, e)
    evolution = (name in PRESETS and PRESETS[name].evolution) or some_evolution(draw, e)
    few = e.data.replace(n_train=draw.randint(min(10, e.data.n_train), e.data.n_train))
    compared = COMPARISON.values(e.replace(data=few), "cn", "cm", "cside") | {"compared": COMPARED}
    shown = EXPERIMENT.values(e) | STORY.values(story) | EVOLUTION.values(evolution) | compared
    at = opened_by({})
    at.session_state.wanted = shown
    at.main.button[0].click().run()
    for view in (at, opened_by(in_address(shown))):
        assert "refused" not in view.session_state
        assert view.session_state.made[:3] == (e, story, evolution)
        assert list(view.session_state.made[3]) == COMPARED
        assert {one.data for one in view.session_state.made[3].values()} == {few}


HELD = {"n": 300, "m": 100, "ridge": 0.5}  # what a callback sets; n, m and ridge were 1000, 2000 and 0


@pytest.mark.parametrize(
    ("knows", "sent", "shown"),
    [
        (False, {"n": 1000, "m": 2000, "ridge": 0.0}, HELD),
        (False, {"n": 77, "m": 2000, "ridge": 0.0}, HELD | {"n": 77}),
        (True, {"n": 300, "m": 2000, "ridge": 0.5}, HELD | {"m": 2000}),
        (True, {"n": 1000, "m": 2000, "ridge": 0.0}, {"n": 1000, "m": 2000, "ridge": 0.0}),
    ],
    ids=["asked for before it knew", "typed before it knew", "typed back", "all typed back"],
)
def test_what_is_typed_after_a_click_stays(knows: bool, sent: dict[str, float], shown: dict[str, float]) -> None:
    """Requests of a browser that does not know yet, or that knows, what a button has set."""
    at = opened_by({})
    before = at.text_input(key="receipt").value
    at.session_state.wanted = HELD
    at.main.button[0].click().run()
    for name, value in sent.items():
        at.number_input(key=name).set_value(value)
    if not knows:
        at.text_input(key="receipt").set_value(before)
    at.run()
    assert {name: at.number_input(key=name).value for name in HELD} == shown
    assert all(at.number_input(key=name).proto.set_value for name in HELD if sent[name] != shown[name])


def pressed() -> AppTest:
    """The controls after a button has set some of them, of which the browser knows."""
    at = opened_by({})
    at.session_state.wanted = HELD
    at.main.button[0].click().run()
    return at.run()


def drawn_anew(at: AppTest, **sent: float) -> dict[str, float]:
    """What controls show after a part that polls has sent some as they were, and has the page drawn anew."""
    for name, value in sent.items():
        at.number_input(key=name).set_value(value)
    at.session_state.drawn_anew = HELD | sent
    at.run()
    return {name: at.number_input(key=name).value for name in HELD}


def test_a_control_that_the_receipt_overtook() -> None:
    """Drawn anew by itself, the page has it as the button has set it, and sets no other control."""
    at = pressed()
    assert drawn_anew(at, n=1000) == HELD
    assert [name for name in HELD if at.number_input(key=name).proto.set_value] == ["n"]


def test_what_somebody_chose_stays_when_the_page_is_drawn_anew() -> None:
    """Also what was there before the button: typed back, or typed while the page is about to be drawn anew."""
    at = pressed()
    at.number_input(key="n").set_value(1000)
    at.run()
    assert drawn_anew(at) == HELD | {"n": 1000}
    at = pressed()
    at.number_input(key="n").set_value(1000)
    at.session_state.drawn_anew = HELD
    at.run()
    assert at.number_input(key="n").value == 1000


def test_what_back_has_brought_stays_when_the_page_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    at = pressed()
    with monkeypatch.context() as patch:
        patch.setattr(links, "get_script_run_ctx", lambda: replace(get_script_run_ctx(), is_history_navigation=True))
        at.run()
    assert drawn_anew(at, n=1000) == HELD | {"n": 1000}


def test_a_control_of_another_page_is_not_set_when_the_page_is_drawn_anew() -> None:
    at = opened_by({})
    at.session_state.wanted = HELD | {"image": 3}
    at.main.button[0].click().run()
    at.run()
    del at.session_state["image"]
    assert drawn_anew(at) == HELD
    assert "image" not in at.session_state


def test_only_draw_anew_runs_a_page_again_from_a_part_that_polls() -> None:
    parts = [
        node
        for path in (Path(__file__).parents[2] / "pages").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and any("run_every" in ast.unparse(one) for one in node.decorator_list)
    ]
    assert "draw_anew()" in "".join(map(ast.unparse, parts))
    assert [part.name for part in parts if "st.rerun(" in ast.unparse(part)] == []


def test_two_clicks_before_the_browser_knows_of_the_first() -> None:
    """What it sends then, as it was before both, is not taken for something typed."""
    at = opened_by({})
    before = at.text_input(key="receipt").value
    for wanted in ({"n": 300}, {"n": 400}):
        at.session_state.wanted = wanted
        at.main.button[0].click().run()
        at.number_input(key="n").set_value(1000)
        at.text_input(key="receipt").set_value(before)
    at.run()
    assert at.number_input(key="n").value == 400
