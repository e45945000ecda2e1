"""The method against a known truth: the features planted in the toy set are found, and classed as what they are."""

import numpy as np
import pytest
import torch

import ntkcore as ntk
from ntkcore.analysis.features.classes import BRITTLE, ROBUST, WEAK
from ntkcore.data import toy_truth
from ntkcore.runs.presets import PRESETS

TOP = 20
PLANTED = {feature.name: which for which, feature in enumerate(toy_truth().features)}


@pytest.fixture(scope="module")
def found():
    """The toy task, its sweep at the recommended eps, and the cosine of each top feature with each planted one."""
    truth = toy_truth()
    task = ntk.load(ntk.DataSpec(name="toy", n_train=500, n_test=300))
    x, y = task.x_train, task.y_train
    k = ntk.kernel_fn(ntk.fc(1))
    sweep = ntk.eigenfeatures(k, x, y, task.x_test, task.y_test, attack=ntk.fgsm(truth.eps))
    cosines = np.empty((TOP, len(truth.features)))
    for i in range(TOP):
        z = task.x_test.double().requires_grad_()
        f = ntk.subset_predictor(k, sweep.spectrum, x, y, [i])
        (gradient,) = torch.autograd.grad(f(z).sum(), z)
        mean = gradient.mean((0, 1)).numpy()  # [8, 8]: what the feature looks at, on average
        cosines[i] = np.tensordot(truth.directions, mean, 2) / np.linalg.norm(mean)
    return task, k, sweep, cosines


def classes(sweep: ntk.Sweep) -> np.ndarray:
    return ntk.classify(sweep)


def test_a_direction_and_two_groups_are_planted():
    truth = toy_truth()
    assert truth.robust.tolist() == [True, False, False]
    assert truth.directions.shape == (3, 8, 8)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_feature_is_among_the_top_features_and_classed_as_what_it_is(name, found):
    which, (_, _, sweep, cosines) = PLANTED[name], found
    robust = toy_truth().robust[which]
    aligned = np.flatnonzero(cosines[:, which] > (0.99 if robust else 0.85))
    assert len(aligned), f"none of the {TOP} top features looks at the {name}"
    best = int(aligned[sweep.usefulness[aligned].argmax()])
    assert classes(sweep)[best] == (ROBUST if robust else BRITTLE)
    assert sweep.usefulness[best] > 0.65
    if robust:
        assert best < 3
        assert sweep.robustness[best] == sweep.usefulness[best]
    else:
        assert sweep.robustness[best] < 0.02


def test_nothing_else_is_robust(found):
    _, _, sweep, cosines = found
    assert np.flatnonzero(classes(sweep) == ROBUST).tolist() == [cosines[:, 0].argmax()]


def test_most_of_the_rest_is_weak_alone_as_it_should_be(found):
    """16 patterns of stripes leave a few traces beside their label direction."""
    _, _, sweep, _ = found
    assert (classes(sweep) == WEAK).mean() > 0.95
    assert (classes(sweep) == BRITTLE).sum() >= 2


def test_the_robust_feature_alone_keeps_what_the_whole_kernel_loses(found):
    task, k, sweep, cosines = found
    attack = ntk.fgsm(toy_truth().eps)
    whole = attack(ntk.fit(k, task.x_train, task.y_train), task.x_test, task.y_test)
    assert whole.clean_accuracy > 0.97
    assert whole.accuracy < 0.02
    robust = ntk.subset_predictor(k, sweep.spectrum, task.x_train, task.y_train, [int(cosines[:, 0].argmax())])
    alone = attack(robust, task.x_test, task.y_test)
    assert alone.accuracy == alone.clean_accuracy
    assert alone.accuracy == pytest.approx(toy_truth().features[0].accuracy, abs=0.08)


def test_a_radius_beyond_the_planted_amplitude_fells_the_robust_feature_too(found):
    task, k, sweep, cosines = found
    robust = ntk.subset_predictor(k, sweep.spectrum, task.x_train, task.y_train, [int(cosines[:, 0].argmax())])
    felled = ntk.fgsm(1.2 * toy_truth().features[0].amplitude)(robust, task.x_test, task.y_test)
    assert felled.accuracy < 0.02


def test_the_preset_uses_the_recommended_radius():
    assert PRESETS["toy"].experiment.attack == ntk.fgsm(toy_truth().eps)
    assert PRESETS["toy"].experiment.data.n_train == 500
