"""Every page on small experiments of every kind: its main elements are there, its sentences agree with the store."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.spectrum import effective_rank
from ntkcore.readings.words import signed
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.presets import FRONT, PRESETS
from ntkcore.runs.specs import Experiment
from pages.ui.controls.sidebar import EXPERIMENT
from pages.ui.shell.links import in_address
from pages.ui.shell.services import services
from visits import (
    CHARTS,
    PAGES,
    RESULTS,
    charts,
    complaints,
    least,
    number,
    over_pictures,
    pictures,
    press,
    select,
    stored,
    text,
    working,
)

Open = Callable[..., AppTest]

TITLES = {
    "overview": "Overview",
    "spectrum": "Spectrum",
    "eigenfeatures": "Eigenfeatures",
    "attack": "Attack",
    "transfer": "Transfer",
    "evolution": "Evolution",
    "consistency": "Consistency",
    "runs": "Runs",
}
KINDS = {
    "three-classes-eps-0": {"classes": ["Coat", "Bag", "Shirt"], "draw": "7", "eps": "0"},
    "ten-classes-whole-range": {
        "m": "20",
        "eps": "255",
        "classes": [
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ],
    },
    "toy-l2-pgd-random-start": {
        "data": "toy",
        "norm": "l2",
        "eps": "1.5",
        "attack": "PGD",
        "steps": "4",
        "start": "true",
    },
    "erf-nngp": {"act": "erf", "kind": "nngp", "depth": "10"},
    "conv-standardised-float32-ridge": {
        "net": "Conv",
        "depth": "2",
        "size": "7",
        "inputs": "standardise",
        "precision": "float32",
        "ridge": "0.5",
    },
    "myrtle": {"net": "Myrtle", "depth": "5", "size": "7", "n": "8", "m": "2"},
    "strict-rule-one-test-image": {"fdr": "0.01", "keep": "1.0", "m": "1"},
    "two-training-images": {"n": "2", "m": "2", "draw": "3"},
}


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, opened: Open) -> None:
    at = opened(page)
    assert at.main.title[0].value == TITLES[page]
    assert charts(at) == CHARTS[page]
    assert complaints(at) == []
    assert not at.exception
    assert "T-shirt/top / Shirt, 60 training and 20 test images" in at.main.caption[0].value
    if page in RESULTS:
        assert "How this is computed" in at.main.expander[-1].label
        assert len(at.main.latex) == 1
        assert "ntk.DataSpec(name=" in at.main.code[0].value


@pytest.mark.parametrize("kind", KINDS)
def test_experiment(kind: str, opened: Open) -> None:
    """Each kind of experiment on each page; the link is the experiment."""
    size = {"n": "40", "m": "10"} | KINDS[kind]
    for page in RESULTS:
        at = opened(page, least(page, int(size["n"]), int(size["m"])) | KINDS[kind])
        assert not at.exception, f"{page}: {at.exception[0].message}"
        if page == "consistency" and int(size["n"]) < 4:
            assert [words for words in complaints(at) if "takes 4 at least" in words], page
            continue
        assert complaints(at) == [], page
        assert charts(at) == CHARTS[page], page
    for name, value in (size | KINDS[kind]).items():
        taken = at.session_state[name]
        wanted = value if isinstance(value, list) else type(taken)(value if taken is not True else 1)
        assert taken == wanted, name


def test_overview_numbers(opened: Open) -> None:
    at = opened("overview")
    assert pictures(at)[3:] == ["T-shirt/top"] * 3 + ["Shirt"] * 3
    arrays = stored(at.session_state.experiment.predict()).arrays
    shares = {name: float(arrays[name].double().mean()) for name in ("right", "attack_right", "pgd_right")}
    assert [metric.value for metric in at.metric] == [f"{share:.1%}" for share in shares.values()]
    labels = np.where(arrays["outputs"].numpy()[:, 0] > 0, 1, -1)
    truth = np.sign(arrays["margin"].numpy() * arrays["outputs"].numpy()[:, 0])
    assert (labels == truth).mean() == shares["right"]
    assert number(r"gets (\d+\.?\d*) % \[.*?\] of 20 test images right", text(at)) == pytest.approx(
        100 * shares["right"]
    )
    assert number(r"eps 8/255, (\d+\.?\d*) % \[.*?\] are left", text(at)) == pytest.approx(100 * shares["attack_right"])


def test_overview_begins_with_one_image(opened: Open) -> None:
    """Image, noise and sum with what the kernel says; the shares in large; the scatter once there is a sweep."""
    query = {"draw": "41"}
    at = opened("overview", query)
    e, link = at.session_state.experiment, "https://arxiv.org/abs/2210.05577"
    a = stored(CLAIMS[0].specs(e)["all"]).arrays
    at_eps = int(np.flatnonzero(np.isclose(a["eps"].numpy(), 8 / 255))[0])
    outputs = [float(a["outputs"][0, 0]), float(a["outputs"][1 + at_eps, 0])]
    names = [["T-shirt/top", "Shirt"][int(output > 0)] for output in outputs]
    margins = [float(a["label"]) * output for output in outputs]
    image, noise, seen = pictures(at)[:3]
    assert [image, seen] == [f"**{name}**, margin {signed(m, '+.2f')}" for name, m in zip(names, margins, strict=True)]
    assert "≤ 8/255, drawn 16 times stronger" in noise
    clean, attacked = (100 * one.double().mean() for one in (a["right_before"], a["right_after"][at_eps]))
    told, shown = f"## {clean:.0f} % of test images right, {attacked:.0f} % under an attack.", text(at)
    assert f"{told} No network was trained." in shown
    assert shown.count("*Already computed.*") == 4  # the presets of kernels in front: no wait is named
    assert link in shown
    assert not at.get("plotly_chart")
    opened("eigenfeatures", query)
    at = opened("overview", query)
    assert [chart.proto.id.endswith("-in-small") for chart in at.get("plotly_chart")] == [True]


def test_overview_of_what_is_in_front_computes_nothing(
    app_test: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a fresh machine: pictures, scatter and numbers come with the project, and no worker is started for them."""
    monkeypatch.setenv("NTK_CACHE", str(tmp_path))
    links = [in_address(EXPERIMENT.values(e)) for e in (Experiment(), *(PRESETS[name].experiment for name in FRONT))]
    for link in links:
        at = app_test(link)
        assert complaints(at) == []
        assert not working(at)
        assert [chart.proto.id.endswith("-in-small") for chart in at.get("plotly_chart")] == [True]
        assert len(at.metric) == 3
        assert services().worker.pid is None


def test_overview_has_six_presets_in_front(opened: Open) -> None:
    """Each with a picture; the others are behind one click, and none is lost."""
    at = opened("overview", wait=False)
    (more,) = (one for one in at.main.expander if one.label == "More presets")
    behind = {one.key for one in more.button}
    every = {one.key for one in at.main.button if (one.key or "").startswith("preset-")}
    assert every == {f"preset-{name}" for name in PRESETS}
    assert len(every - behind) == 6
    assert len([one for one in at.main.image if not any(one.captions)]) == 6


@pytest.mark.parametrize(("label", "page"), [("Tell the story", "Story"), ("Explore", "Eigenfeatures")])
def test_overview_leads_on(label: str, page: str, opened: Open) -> None:
    at = opened("overview", wait=False)
    press(at, label)
    assert at.main.title[0].value == page


def test_spectrum_numbers(opened: Open) -> None:
    at = opened("spectrum")
    experiment = at.session_state.experiment
    K = stored(experiment.kernel()).arrays["K"].numpy()
    values = np.linalg.eigvalsh(K)[::-1]
    share = values / values.sum()
    rank = np.exp(-(share * np.log(share)).sum())
    words = text(at)
    assert number(r"Of the kernel on the (\d+) training images", words) == len(values) == 60
    assert number(r"largest eigenvalue is (\d+\.?\d*) %", words) == pytest.approx(100 * share[0], abs=0.5)
    assert number(r"effective rank is (\d+\.\d)", words) == pytest.approx(rank, abs=0.06)
    assert effective_rank(stored(experiment.spectrum()).arrays["values"]) == pytest.approx(rank, rel=1e-6)


def test_eigenfeatures_numbers(opened: Open) -> None:
    """One feature's shares, and the counts of all, by Benjamini and Hochberg's rule as it is written down."""
    at = opened("eigenfeatures", {"feature": "7", "m": "400"})
    experiment, words = at.session_state.experiment, text(at)
    a, values = stored(experiment.sweep()).arrays, stored(experiment.spectrum()).arrays["values"]
    hits, kept = (a[name].sum(0).numpy() for name in ("right_before", "right_after"))
    one = re.search(r"\*\*Feature 7\*\* .*eigenvalue (\S+); right on (\S+) % .* of the .*, on (\S+) % ", words).groups()
    assert [float(number) for number in one] == pytest.approx([float(values[7]), hits[7] / 4, kept[7] / 4], rel=0.01)
    p = a["p_values"].numpy()
    passing = np.flatnonzero(np.sort(p) <= 0.05 * np.arange(1, len(p) + 1) / len(p))
    useful = p <= np.sort(p)[passing[-1]]
    robust, brittle = kept >= 0.5 * hits, kept <= 0.05 * hits
    counts = [int((useful & which).sum()) for which in (robust, ~robust & ~brittle, brittle)]
    told = re.search(r"useful at a false discovery rate of 5 %: (\d+) robust.*?, (\d+) in b.*? and (\d+) br", words)
    assert [int(count) for count in told.groups()] == counts


def test_attack_numbers(opened: Open) -> None:
    at = opened("attack", {"image": "3", "amplify": "5"})
    flip = stored(at.session_state.experiment.flip(3)).arrays
    words = text(at)
    if float(flip["fgsm_margin"][0]) > 0:
        assert number(r"flips it is (\d+\.?\d*)/255 with FGSM", words) == pytest.approx(
            255 * float(flip["fgsm_flip"]), abs=0.01
        )
        assert float(flip["pgd_flip"]) <= float(flip["fgsm_flip"]) + 1e-6
    else:
        assert "wrong before any attack" in words
    own = int(flip["at"])
    change = (flip["x_adv"][own] - flip["image"]).abs().max()
    assert float(change) == pytest.approx(8 / 255, rel=1e-5)
    image, noise, seen = over_pictures(at)
    assert noise == ["+ noise", "ℓ∞ ≤ 8/255", "shown × 5"]
    assert [image[2], seen[2]] == [f"margin {signed(float(flip['margin'][i]), '+.2f')}" for i in (0, own)]


def test_eps_0_changes_nothing(opened: Open) -> None:
    at = opened("overview", {"eps": "0"})
    clean, attacked, pgd = (metric.value for metric in at.metric)
    assert clean == attacked == pgd
    sweep = stored(at.session_state.experiment.sweep()) if opened("eigenfeatures", {"eps": "0"}) else None
    assert torch.equal(sweep.arrays["right_before"], sweep.arrays["right_after"])


@pytest.mark.parametrize("power", ["-5", "inf"])
def test_a_link_that_names_a_training_time(power: str, opened: Open) -> None:
    """The slider in the figure has taken the place of a control that links may still name."""
    at = opened("spectrum", {"t": power})
    assert not at.exception
    assert complaints(at) == []
    assert charts(at) == CHARTS["spectrum"]


def test_click_on_a_dot_opens_the_feature(opened: Open) -> None:
    at = opened("eigenfeatures")
    select(at, "scatter", points=[{"customdata": [12], "point_index": 12, "curve_number": 0}])
    assert at.number_input(key="feature").value == 12
    assert "**Feature 12**" in text(at)


def test_click_on_a_thumbnail_opens_the_image(opened: Open) -> None:
    at = opened("attack")
    select(at, "sheet", points=[{"customdata": [5], "point_index": 5, "curve_number": 0}])
    assert at.number_input(key="image").value == 5


def test_click_on_an_eigenvector_shows_the_image(opened: Open) -> None:
    at = opened("spectrum")
    assert "Click a dot to see its image." in text(at)
    select(at, "eigenvectors", points=[{"customdata": 9, "point_index": 9, "curve_number": 0}])
    assert pictures(at)[0].startswith("training image 9: ")


def test_warm_pages_start_no_job(opened: Open) -> None:
    """What is in the cache is shown at once: no progress bar, not even for a moment."""
    for page in RESULTS:
        opened(page)
        at = opened(page, wait=False)
        assert charts(at) == CHARTS[page]
        assert not at.get("progress")


@pytest.mark.parametrize(("name", "value"), [("NTK_MEMORY_GB", "lots"), ("NTK_THREADS", "0")])
def test_an_odd_setting_is_a_sentence_on_the_page(
    name: str, value: str, opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("NTK_CACHE", str(tmp_path))
        patch.setenv(name, value)
        at = opened("spectrum", wait=False)
        assert not at.exception
        assert f"{name} is '{value}'" in complaints(at)[0]
