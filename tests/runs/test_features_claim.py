"""The paper's second claim, as numbers that can fail: robust features first, many brittle ones after them.

FC(1), FGSM 8/255, 2,000 test images; what is useful is decided with a false discovery rate of 5 % (Tsilivis & Kempe
2022, section 4). A minute each: ``make test ARGS="-m slow"``; CIFAR-10 also needs its data in NTK_DATA:
``-m realdata``.
"""

import os

import numpy as np
import pytest
from scipy.stats import binom

import ntkcore as ntk
from ntkcore.analysis.features.classes import BRITTLE, ROBUST, classify, falling
from ntkcore.analysis.features.eigenfeatures import feature_answers
from ntkcore.analysis.features.label_test import null_of
from ntkcore.analysis.predict import class_numbers
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.stages import read_curves, read_sweep, result
from ntkcore.runs.store import Store

PERMUTATIONS = 100


def test_with_permuted_labels_a_feature_is_called_useful_in_one_of_twenty_at_most():
    """On the bundled default: its 1,000 features' own answers, so with all their dependence."""
    task = ntk.load(PRESETS["start"].experiment.data)
    k = ntk.kernel_fn(ntk.fc(1))
    s = ntk.spectrum(k(task.x_train.double()))
    answers = feature_answers(s, task.y_train, k(task.x_test.double(), task.x_train.double()))
    null = null_of(answers.numpy(), class_numbers(task.y_test).numpy(), PERMUTATIONS)
    assert (null.useful(0.05) > 0).sum() <= binom.ppf(0.99, PERMUTATIONS, 0.05)


@pytest.mark.parametrize(
    ("name", "robust", "brittle"),
    [
        pytest.param("start", 3, 20, marks=pytest.mark.slow),
        pytest.param("ten", 10, 10, marks=pytest.mark.slow),
        pytest.param("cifar", 3, 10, marks=pytest.mark.realdata),
    ],
)
def test_robust_features_are_first_and_brittle_ones_many(name, robust, brittle, tmp_path):
    e, store, root = PRESETS[name].experiment, Store(tmp_path), os.environ.get("NTK_DATA")
    assert e.data.n_test == 2000
    swept, spectral = (result(spec, store, data_root=root) for spec in (e.sweep(), e.spectrum()))
    sweep = read_sweep(swept, spectral, e.sweep())
    codes = classify(sweep)
    found = np.flatnonzero(codes == ROBUST)
    assert len(found) >= robust
    assert (codes == BRITTLE).sum() >= brittle
    if sweep.labels.max() == 1:
        assert found.max() < 20
    assert falling(sweep).spearman.high[0] < -0.5
    bands = read_curves(result(e.curves(), store, data_root=root))["bands"].curve()
    tail = bands.k >= 128
    assert (bands.clean.low[tail] > sweep.majority).any()
    assert (bands.attacked.high[tail] < 0.02).all()
