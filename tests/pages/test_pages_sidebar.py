"""The sidebar: presets set it exactly, its controls follow each other, and no choice is lost on the way."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.figures.drawing.enlarge import SMALLEST
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.comparison import agreement_of, with_net
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.specs import Evolution, Experiment, Story
from pages.ui.controls.used import unused
from pages.ui.sections.attack import KERNEL, wanted_by
from visits import CHARTS, charts, complaints, run_until_ready, text

Open = Callable[..., AppTest]
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


@pytest.mark.parametrize("name", PRESETS)
def test_preset(name: str, opened: Open) -> None:
    """From an experiment that differs in every control."""
    everything = {
        "data": "toy",
        "n": "50",
        "m": "10",
        "size": "4",
        "order": "own",
        "draw": "5",
        "net": "Conv",
        "depth": "3",
        "w": "1",
        "b": "0",
        "act": "erf",
        "kind": "nngp",
        "inputs": "centre",
        "precision": "float32",
        "ridge": "1",
        "attack": "PGD",
        "norm": "l2",
        "eps": "0.5",
        "steps": "3",
        "start": "true",
        "fdr": "0.1",
        "keep": "1",
    }
    at = opened("overview", everything, wait=False)
    assert complaints(at) == []
    at.button(key=f"preset-{name}").click().run()
    assert at.session_state.experiment == PRESETS[name].experiment
    assert not at.exception
    assert complaints(at) == []


def test_presets_one_after_another(opened: Open) -> None:
    at = opened("overview", wait=False)
    for name in [*PRESETS, *reversed(PRESETS)]:
        at.button(key=f"preset-{name}").click().run()
        assert at.session_state.experiment == PRESETS[name].experiment
        assert not at.exception
        if PRESETS[name].story is not None:
            assert at.main.title[0].value == "Transfer"
            assert at.session_state.widths == list(PRESETS[name].story.widths)
        if PRESETS[name].evolution is not None:
            assert at.main.title[0].value == "Evolution"
            assert at.session_state.epochs == PRESETS[name].evolution.epochs
        if at.main.title[0].value != "Overview":
            at.switch_page("pages/overview.py").run()


def test_preset_that_needs_a_download_offers_it(opened: Open) -> None:
    at = opened("overview", wait=False)
    at.button(key="preset-cifar").click().run()
    assert "CIFAR-10 is not in" in at.info[0].value
    labels = [button.label for button in at.main.button]
    assert labels.count("Download") == 1
    assert "Run" not in labels


@pytest.mark.parametrize("name", ["mnist", "kmnist", "cifar100", "svhn"])
def test_data_set_that_is_not_there(name: str, opened: Open) -> None:
    at = opened("overview", wait=False)
    at.selectbox(key="data").set_value(name).run()
    assert at.session_state.experiment.data.name == name
    assert "are to be downloaded" in at.info[0].value


def test_fewer_classes_take_back_what_they_cannot_give(opened: Open) -> None:
    at = opened("overview", wait=False)
    at.multiselect(key="classes").set_value(list(FASHION)).run()
    assert at.number_input(key="n").max == 6000
    at.number_input(key="n").set_value(6000).run()
    assert at.session_state.experiment.data.n_train == 6000
    at.multiselect(key="classes").set_value(["Coat", "Bag"]).run()
    assert not at.exception
    assert at.session_state.experiment.data.n_train <= at.number_input(key="n").max == 1200
    assert at.session_state.experiment.data.n_test == 20


@pytest.mark.parametrize("classes", [[], ["Coat"]], ids=["none", "one"])
def test_too_few_classes_lose_nothing(classes: list[str], opened: Open) -> None:
    """While there is no experiment, all other choices stand."""
    others = {
        "net": "Conv",
        "depth": "3",
        "size": "7",
        "eps": "4",
        "ridge": "0.5",
        "kind": "nngp",
        "draw": "2",
    }
    at = opened("overview", others, wait=False)
    before = at.session_state.experiment
    at.multiselect(key="classes").set_value(classes).run()
    assert "at least two classes" in at.error[0].value
    at.multiselect(key="classes").set_value(["T-shirt/top", "Shirt"]).run()
    assert at.session_state.experiment == before


def test_architecture_brings_its_depth(opened: Open) -> None:
    at = opened("overview", {"depth": "9", "size": "7"}, wait=False)
    for family, depth in (("Myrtle", 5), ("Conv", 2), ("FC", 1)):
        at.segmented_control(key="net").set_value(family).run()
        assert at.session_state.experiment.net.depth == depth
        assert not at.exception


def test_ball_brings_its_radius(opened: Open) -> None:
    at = opened("overview", wait=False)
    at.number_input(key="eps").set_value(200.0).run()
    at.selectbox(key="norm").set_value("l2").run()
    assert at.session_state.experiment.attack.eps == 1.0
    at.number_input(key="eps").set_value(50.0).run()
    at.selectbox(key="norm").set_value("linf").run()
    assert at.session_state.experiment.attack.eps == pytest.approx(8 / 255)


def test_data_set_brings_its_classes(opened: Open) -> None:
    at = opened("overview", {"size": "14"}, wait=False)
    at.selectbox(key="data").set_value("toy").run()
    data = at.session_state.experiment.data
    assert data.classes == ("minus", "plus")
    assert data.size is None
    at.selectbox(key="data").set_value("own").run()
    assert "Upload an .npz" in at.error[0].value
    at.selectbox(key="data").set_value("fashion-mnist-sample").run()
    assert at.session_state.experiment.data.classes == ("T-shirt/top", "Shirt")
    assert not at.exception


def test_pages_follow_a_smaller_experiment(opened: Open) -> None:
    """A feature, an image or a class that the new experiment does not have gives way without an exception."""
    at = opened(
        "eigenfeatures",
        {"feature": "50", "features": ["0", "55"], "k": "60", "shown": ["Shirt"], "nth": "15"},
    )
    assert "**Feature 50**" in text(at)
    at.number_input(key="n").set_value(20)
    at.number_input(key="m").set_value(8)
    at.multiselect(key="classes").set_value(["Coat", "Bag", "Dress"]).run()
    run_until_ready(at)
    assert not at.exception
    assert at.number_input(key="feature").value < 20
    assert at.multiselect(key="shown").value == []
    assert "Choose at least one class" in text(at)
    at.multiselect(key="shown").set_value(["Bag"]).run()
    assert charts(run_until_ready(at)) == CHARTS["eigenfeatures"]


def test_attack_follows_fewer_test_images(opened: Open) -> None:
    at = opened("attack", {"image": "19"})
    at.number_input(key="m").set_value(5).run()
    run_until_ready(at)
    assert not at.exception
    assert at.number_input(key="image").value < 5
    assert charts(at) == CHARTS["attack"]


def test_spectrum_follows_fewer_training_images(opened: Open) -> None:
    at = opened("spectrum", {"vi": "59", "vj": "58"})
    at.session_state.eigenvector_image = 57
    at.number_input(key="n").set_value(20).run()
    run_until_ready(at)
    assert not at.exception
    assert charts(at) == CHARTS["spectrum"]
    assert "Click a dot" in text(at)


def test_the_experiment_goes_along_to_other_pages(opened: Open) -> None:
    at = opened("overview", {"classes": ["Coat", "Bag"], "eps": "4"})
    before = at.session_state.experiment
    for page in ("spectrum", "eigenfeatures", "attack", "runs", "overview"):
        at.switch_page(f"pages/{page}.py").run()
        assert at.session_state.experiment == before
        assert not at.exception


# -- presenter mode: by a link or the switch, on every page until it is left


def shown(at: AppTest) -> bool:
    """Whether the sidebar is hidden and the way out is there."""
    hidden = any('"stSidebar"' in one.value and "display: none" in one.value for one in at.html)
    assert hidden == any(button.key == "leave-presenting" for button in at.main.button)
    return hidden


@pytest.mark.parametrize("value", ["1", "true"])
def test_by_a_link_and_from_page_to_page(value: str, opened: Open) -> None:
    at = opened("spectrum", {"present": value})
    assert complaints(at) == []
    assert shown(at)
    spec = json.loads(at.get("plotly_chart")[0].proto.spec)
    assert spec["layout"]["font"]["size"] >= SMALLEST
    at = run_until_ready(at.switch_page("pages/overview.py").run())
    assert shown(at)
    at.button(key="leave-presenting").click().run()
    assert not shown(at)
    assert at.toggle(key="present").value is False
    at = run_until_ready(at.switch_page("pages/spectrum.py").run())
    assert not shown(at)
    assert "size" not in json.loads(at.get("plotly_chart")[0].proto.spec)["layout"].get("font", {})


def test_by_the_switch(opened: Open) -> None:
    at = opened("overview")
    assert not shown(at)
    assert not at.exception
    at.toggle(key="present").set_value(True).run()
    assert shown(at)


# -- what a page does not look at is not shown there


def _experiments() -> dict[str, Experiment]:
    """By the key of a control: the default experiment with another value of it."""
    e = Experiment()
    return {
        "attack": e.replace(attack=pgd(8 / 255)),
        "eps": e.replace(attack=fgsm(4 / 255)),
        "norm": e.replace(attack=fgsm(8 / 255, "l2")),
        "n": e.replace(data=e.data.replace(n_train=100)),
        "order": e.replace(data=e.data.replace(order="own")),
        "net": e.replace(net=e.net.replace(family="conv")),
        "depth": e.replace(net=e.net.replace(depth=2)),
        "w": e.replace(net=e.net.replace(W_std=1.0)),
        "kind": e.replace(kind="nngp"),
        "inputs": e.replace(inputs="centre"),
        "ridge": e.replace(ridge=1.0),
        "precision": e.replace(precision="float32"),
        "fdr": e.replace(rule=e.rule.replace(fdr=0.01)),
    }


def _in_one(e: Experiment) -> list[object]:
    return [e.predict(), e.flip(0), *wanted_by(e, KERNEL, "width 8", 0).values()]


def _pair(e: Experiment) -> dict[str, Experiment]:
    return {name: with_net(e, name) for name in ("FC(1)", "FC(3)")}


# What each page computes, or judges by, of an experiment.
LOOKED_AT: dict[str, Callable[[Experiment], list[object]]] = {
    "": lambda e: [e.predict(), e.sweep(), e.rule],
    "story": lambda e: [spec for claim in CLAIMS for spec in claim.specs(e).values()],
    "spectrum": lambda e: [e.kernel(), e.spectrum()],
    "eigenfeatures": lambda e: [e.sweep(), e.curves(), e.pictures(0, (0,))],
    "attack": _in_one,
    "transfer": lambda e: list(Story(kernel=e.ntk(), norm=e.attack.norm).transfers().values()),
    "evolution": lambda e: list(
        Evolution(data=e.data, inputs=e.inputs, fgsm=fgsm(e.attack.eps, e.attack.norm), probe=50).wanted().values()
    ),
    "consistency": lambda e: [agreement_of(pair := _pair(e)), *(one.sweep() for one in pair.values()), e.rule],
    "runs": lambda e: [],
}


@pytest.mark.parametrize("page", LOOKED_AT)
def test_a_page_shows_the_controls_that_it_looks_at(page: str) -> None:
    looked_at = LOOKED_AT[page]
    changed = {key: looked_at(e) != looked_at(Experiment()) for key, e in _experiments().items()}
    shown = {key: key not in unused(page) for key in changed}
    assert shown == changed


def test_what_is_not_shown_keeps_its_value(opened: Open) -> None:
    at = opened("spectrum", {"eps": "4", "fdr": "0.1", "ridge": "0.5"}, wait=False)
    (style,) = (one.value for one in at.html if "display: none !important" in one.value)
    assert ".st-key-eps" in style
    assert ".st-key-data" not in style
    e = at.session_state.experiment
    at.switch_page("pages/overview.py").run()
    assert at.session_state.experiment == e
    assert (e.attack.eps, e.rule.fdr, e.ridge) == (pytest.approx(4 / 255), 0.1, 0.5)
    (style,) = (one.value for one in at.html if "display: none !important" in one.value)
    assert ".st-key" not in style
