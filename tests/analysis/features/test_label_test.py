"""The test of usefulness: exact p-values against scipy, counting and shuffling; what chance alone gives."""

from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.label_test import cutoff, images_needed, null_of, p_values, smallest_passing, useful


def features(classes, m, count, knows=0.0, seed=0):
    """Answers [m, F] of two kinds each, right with an excess of ``knows``, and labels [m]."""
    g = np.random.default_rng(seed)
    labels = np.arange(m) % classes
    pairs = np.stack([g.permutation(classes)[:2] for _ in range(count)])  # [F, 2]
    toward = labels[:, None] == pairs[:, 0]
    first = g.random((m, count)) < np.where(toward, 0.5 + knows, 0.5 - knows)
    return np.where(first, pairs[:, 0], pairs[:, 1]), labels


@pytest.mark.parametrize("m", [10, 61, 300])
def test_with_two_classes_it_is_fishers_test(m):
    answers, labels = features(2, m, 20, knows=0.1)
    found = p_values(answers, labels, (answers == labels[:, None]).sum(0))
    for f, p in enumerate(found):
        table = [[((answers[:, f] == a) & (labels == b)).sum() for b in (0, 1)] for a in (0, 1)]
        assert p == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-9)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_it_counts_all_orders_of_the_labels(classes):
    answers, labels = features(classes, 7, 6, knows=0.2)
    right = (answers == labels[:, None]).sum(0)
    orders = np.array(list(permutations(labels)))  # [7!, 7]
    expected = [((orders == answers[:, f]).sum(1) >= right[f]).mean() for f in range(6)]
    np.testing.assert_allclose(p_values(answers, labels, right), expected, rtol=1e-9)


def test_with_ten_classes_shuffled_labels_agree():
    answers, labels = features(10, 200, 8, knows=0.2)
    right = (answers == labels[:, None]).sum(0)
    found, draws = p_values(answers, labels, right), 4000
    g = np.random.default_rng(1)
    shuffled = np.stack([g.permutation(labels) for _ in range(draws)])
    for f in range(8):
        seen = int(((shuffled == answers[:, f]).sum(1) >= right[f]).sum())
        assert stats.binomtest(seen, draws, found[f]).pvalue > 1e-4


@pytest.mark.parametrize("answer", [0, 1])
def test_a_feature_with_one_answer_knows_nothing(answer):
    labels = np.arange(40) % 2
    answers = np.full((40, 1), answer)
    assert p_values(answers, labels, np.array([20])) == pytest.approx([1.0])


def test_the_permuted_usefulness_is_that_of_shuffled_labels():
    answers, labels = features(3, 30, 5)
    null = null_of(answers, labels, permutations=3, seed=4)
    g = np.random.default_rng(4)
    for p in range(3):
        shuffled = g.permutation(labels)
        right = (answers == shuffled[:, None]).sum(0)
        np.testing.assert_allclose(null.usefulness[p], right / 30)
        np.testing.assert_allclose(null.p_values[p], p_values(answers, shuffled, right))


@pytest.mark.parametrize("classes", [2, 10])
def test_independent_features_that_know_nothing_are_seldom_called_useful(classes):
    answers, labels = features(classes, 200, 300)
    null = null_of(answers, labels, permutations=300)
    any_found = int((null.useful(0.05) > 0).sum())
    assert stats.binomtest(any_found, 300, 0.05, alternative="greater").pvalue > 0.001


def test_those_that_know_the_labels_are_found():
    answers, labels = features(2, 300, 200)
    knowing, _ = features(2, 300, 10, knows=0.2, seed=1)
    both = np.concatenate([knowing, answers], 1)
    p = p_values(both, labels, (both == labels[:, None]).sum(0))
    found = useful(p, 0.05)
    assert found[:10].all()
    assert found[10:].sum() <= 2
    assert p[found].max() <= cutoff(p, 0.05) < p[~found].min()


@pytest.mark.parametrize("classes", [2, 5])
def test_the_smallest_usefulness_that_passes_is_a_limit(classes):
    labels = np.arange(100) % classes
    limit, m = smallest_passing(labels, 0.01), 100
    answers = np.repeat([0, 1], 50)[:, None]
    hits = np.array([[round(limit * m)], [round(limit * m) - 1]])
    passes, fails = p_values(answers, labels, hits)[:, 0]
    assert passes <= 0.01 < fails
    assert smallest_passing(np.arange(4) % 2, 0.01) > 1


@pytest.mark.parametrize(("classes", "modest"), [(2, 0.6), (10, 0.12)])
def test_the_images_needed_are_just_enough(classes, modest):
    enough = images_needed(classes, 1000, 0.05)
    assert enough % classes == 0
    assert smallest_passing(np.arange(enough) % classes, 0.05 / 1000) <= modest
    assert smallest_passing(np.arange(enough * 3 // 4) % classes, 0.05 / 1000) > modest


def test_halves_are_every_second_image_of_each_class():
    assert halves([0, 0, 1, 0, 1, 2, 0]).tolist() == [True, False, True, True, False, True, False]
