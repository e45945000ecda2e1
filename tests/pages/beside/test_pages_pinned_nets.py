"""A pinned experiment beside the current one where nets are trained or architectures compared: numbers of both."""

import re
from collections.abc import Callable

import numpy as np
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.evolution.seed_tests import gain
from ntkcore.analysis.intervals import apart
from ntkcore.readings.differences import SAME
from ntkcore.readings.words import percent, points_within, within
from ntkcore.runs.comparison import agreement_of, few
from ntkcore.runs.specs import Evolution, Experiment, Story, lengthen
from ntkcore.runs.stages import read_agreement
from ntkcore.training import LAZY
from visits import charts, complaints, drawn, of_shares, side_by_side, small, stored, text

Open = Callable[..., AppTest]
OF_SMALL = "data.n_train=60&data.n_test=20"


def two(at: AppTest) -> tuple[Experiment, Experiment]:
    """The current experiment and the pinned one."""
    assert complaints(at) == []
    return at.session_state.experiment, lengthen(at.session_state.pin)


def test_transfers_are_those_of_the_two_alone(opened: Open) -> None:
    at = opened("transfer", {"pin": f"{OF_SMALL}&net.depth=3", "widths": ["8"]})
    stories = [Story(kernel=e.ntk(), widths=(8,), seeds=1, training=LAZY.replace(lr=0.05)).transfers() for e in two(at)]
    lines, after, shown = drawn(at, "along-eps"), [], text(at)
    for transfers, prefix, name in zip(stories, ("", "pinned, "), ("Now", "Pinned"), strict=True):
        arrays = stored(transfers["width 8", 0, "kernel_fgsm"]).arrays
        verdicts = arrays["right_after"].double().numpy()
        flipped = int((arrays["right_before"] & ~arrays["right_after"][3]).sum())
        assert re.search(rf"{name}: .*: width 8, seed 0, .* eps 8/255: {flipped} of 20 test images flip", shown)
        np.testing.assert_allclose(lines[f"{prefix}FGSM on the kernel, width 8"], verdicts.mean(1), atol=1e-6)
        after.append(verdicts[3])
    assert "pinned, white-box PGD, width 8" not in lines  # its dash is what tells it from FGSM
    rows = side_by_side(at)
    assert rows["Depth"][:2] == ["1", "3"]
    assert rows["width 8: right under FGSM on the kernel, eps 8/255"] == of_shares(*after)
    at.number_input(key="eps").set_value(4.0).run()
    assert "Radius, in steps of 1/255" not in side_by_side(at)  # the page has radii of its own


def test_another_norm_is_not_laid_over(opened: Open) -> None:
    at = opened("transfer", {"pin": f"{OF_SMALL}&attack.norm=l2&attack.eps=1.0&attack.step_size=1.0", "widths": ["8"]})
    (warning,) = complaints(at)
    assert "not shown: Its radius is measured as" in warning


def test_trainings_are_those_of_the_two_alone(opened: Open) -> None:
    """At another radius nets of standard training are the same ones, and are said to be."""
    at = opened("evolution", {"pin": OF_SMALL, "eps": "4", "epochs": "1", "probe": "10", "judged": "10"})
    right, lines = [], drawn(at, "accuracies")
    for e, prefix in zip(two(at), ("", "pinned, "), strict=True):
        alone = Evolution(epochs=1, seeds=1, probe=10, judged=10).about(e)
        scores = [stored(alone.score(alone.run("fgsm"), epoch)).arrays for epoch in (0, 1)]
        means = [scores[epoch]["test_clean"].double().mean() for epoch in (0, 1)]
        np.testing.assert_allclose(lines[f"{prefix}FGSM training, clean accuracy"], means, atol=1e-6)
        right.append(scores[1]["test_pgd"].numpy()[None])
    rows = side_by_side(at)
    assert rows["Standard training: right"][2] == SAME
    change = gain(*right)
    told = points_within(*(0.01 * end for end in (change.value, change.low, change.high)))
    shown = [percent(float(one.mean())) for one in right]
    assert rows["FGSM training: right under PGD"] in ([*shown, f"{told}: cannot tell"], [*shown, SAME])
    assert "Both on the same 20 test images" in text(at)


def test_comparisons_are_those_of_the_two_alone(opened: Open) -> None:
    at = opened("consistency", {"pin": f"{OF_SMALL}&net.W_std=2.0"})
    agreed = []
    for e, prefix in zip(two(at), ("", "pinned, "), strict=True):
        pair = {
            name: few(one.replace(net=one.net.replace(W_std=e.net.W_std)))
            for name, one in zip(("FC(1)", "Conv(2)"), small(at, "FC(1)", "Conv(2)"), strict=True)
        }
        agreed.append(read_agreement(stored(agreement_of(pair)).arrays))
        np.testing.assert_allclose(
            drawn(at, "overlap")[f"{prefix}FC(1) and Conv(2)"], agreed[-1].overlap.mean[0], atol=1e-6
        )
    for key in ("pair-vectors-pinned", "matched-pinned"):
        assert any(chart.endswith(key) for chart in charts(at))
    band = apart(*(one.alignment.one((0, 1)) for one in agreed))
    told = within(*(float(end[0]) for end in (band.mean, band.low, band.high)), "+.3f")
    assert side_by_side(at)["Centred alignment of FC(1) and Conv(2)"][2].startswith(told)
