"""Classes of features: what is useful, how much survives, and whether that falls along the index."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from ntkcore import SpecError, classify
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK, falling
from ntkcore.analysis.features.halves import halves
from tests.made_up import made_up


def test_classes_of_made_up_features():
    sweep = made_up([0.9, 0.9, 0.9, 0.9, 0.55, 0.1], [0.9, 0.5, 0.4, 0.04, 1.0, 0.0])
    assert classify(sweep).tolist() == [ROBUST, ROBUST, BETWEEN, BRITTLE, WEAK, WEAK]
    assert classify(sweep, keep=0.8).tolist() == [ROBUST, BETWEEN, BETWEEN, BRITTLE, WEAK, WEAK]


def test_more_tests_ask_more_of_each():
    alone, among_many = made_up([0.6], [1.0]), made_up([0.6] + [0.5] * 500, [1.0] * 501)
    assert classify(alone).tolist() == [ROBUST]
    assert classify(among_many)[0] == WEAK


@pytest.mark.parametrize(("fdr", "keep"), [(0, 0.5), (1, 0.5), (0.05, 0.05), (0.05, 1.1)])
def test_rates_and_shares_out_of_range_are_refused(fdr, keep):
    with pytest.raises(SpecError):
        classify(made_up([0.9], [0.9]), fdr, keep)


def test_the_share_kept_falls_along_the_index():
    kept = np.linspace(1, 0.1, 10)
    found = falling(made_up([0.8] * 10, kept))
    assert found.index.tolist() == list(range(10))
    assert found.spearman.mean[0] == pytest.approx(-1)
    assert found.spearman.high[0] < 0


def test_it_is_measured_on_the_half_that_did_not_choose():
    sweep = made_up([0.7, 0.8, 0.9, 0.7, 0.8, 0.5], [0.5, 0.9, 0.1, 0.4, 0.3, 1.0])
    second = sweep.part(~halves(sweep.labels))
    kept = (second.robustness / second.usefulness).numpy()
    found = falling(sweep)
    assert found.index.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(found.kept, kept[:5])
    assert found.spearman.mean[0] == pytest.approx(spearmanr(found.index, kept[:5]).statistic)
    assert found.spearman.low[0] <= found.spearman.mean[0] <= found.spearman.high[0]


@pytest.mark.parametrize(
    "sweep",
    [made_up([0.9] * 4, [0.9, 0.6, 0.3, 0.1]), made_up([0.5] * 9, [1.0] * 9), made_up([0.9] * 9, [0.5] * 9, m=2)],
    ids=["four useful", "none useful", "two images"],
)
def test_nothing_is_said_of_an_order_among_few(sweep):
    assert not falling(sweep).spearman.known.any()


def test_features_that_all_keep_the_same_have_no_order():
    assert not falling(made_up([0.9] * 9, [1.0] * 9)).spearman.known.any()
