"""Figures of consistency: the numbers at their place, the chance level, one look a pair, words for what is wrong."""

import numpy as np
import pytest
import torch

from ntkcore import figures
from ntkcore.analysis.consistency.similarity import Match
from ntkcore.analysis.intervals import Band
from ntkcore.errors import DataError

NAMES = ["FC(1)", "Conv(2)", "Myrtle(5)"]
MATRIX = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.6], [0.3, 0.6, 1.0]])


MATCH = Match(torch.tensor([0, 2, 1]), torch.tensor([0.9, -0.7, 0.2], dtype=torch.float64))


def sure(values: object, reach: float = 0.0) -> Band:
    values = np.asarray(values, dtype=float)
    return Band(values, values - reach, values + reach)


def curves(count: int, length: int) -> dict[str, Band]:
    return {f"pair {k}": sure(np.linspace(k / count, 1, length), 0.05) for k in range(count)}


# ------------------------------------------------------------------------------------------------------ heat maps


def test_alignment_stands_in_its_square_on_a_scale_from_0_to_1():
    fig = figures.alignment_heatmap(NAMES, sure(MATRIX, 0.04))
    (trace,) = fig.data
    np.testing.assert_allclose(trace.z, MATRIX, rtol=1e-6)
    assert (trace.zmin, trace.zmax) == (0, 1)
    assert trace.texttemplate == "%{z:.3f}"
    assert trace.text[0][2] == "FC(1) and Myrtle(5)<br>0.300 [0.260, 0.340]"
    assert list(fig.layout.xaxis.ticktext) == list(fig.layout.yaxis.ticktext) == NAMES
    low, high = fig.layout.yaxis.range
    assert low > high, "the first row is at the top"


@pytest.mark.parametrize("count", [2, 3, 8])
def test_alignment_has_a_size_of_its_own_and_may_be_narrowed(count):
    fig = figures.alignment_heatmap([f"Arch({k})" for k in range(count)], sure(np.eye(count)))
    assert 360 <= fig.layout.width <= 560
    assert fig.data[0].colorbar.len <= 300
    assert fig.data[0].colorbar.orientation == "h"
    assert fig.layout.yaxis.scaleanchor == "x"


@pytest.mark.parametrize(
    ("names", "words"),
    [(NAMES, "from 0.300 (FC(1) and Myrtle(5)) to 0.800"), (NAMES[:2], "FC(1) and Conv(2)"), (NAMES[:1], "no pair")],
    ids=["three", "two", "one"],
)
def test_alignment_alt_names_the_extremes(names, words):
    count = len(names)
    assert words in figures.alt_text(figures.alignment_heatmap(names, sure(MATRIX[:count, :count])))


def test_names_from_outside_lose_their_markup():
    fig = figures.alignment_heatmap(["<b>a</b>", "%{z}"], sure(np.eye(2)))
    assert list(fig.layout.xaxis.ticktext) == ["&lt;b&gt;a&lt;/b&gt;", "% {z}"]
    assert "<b>a" not in fig.data[0].text[0][1]


def test_eigenvector_overlaps_have_rows_down_and_columns_across():
    matrix = np.abs(np.random.default_rng(0).normal(size=(20, 20))) / 5
    fig = figures.vector_overlap_heatmap(matrix, "FC(1)", "Conv(2)")
    (trace,) = fig.data
    np.testing.assert_allclose(trace.z, matrix, rtol=1e-6)
    np.testing.assert_array_equal(trace.x, np.arange(20))
    assert (trace.zmin, trace.zmax) == (0, 1)
    assert "FC(1)" in fig.layout.yaxis.title.text
    assert "Conv(2)" in fig.layout.xaxis.title.text
    assert "%{y} of FC(1)" in trace.hovertemplate


@pytest.mark.parametrize(("top", "ticks"), [(1, [0]), (10, list(range(10))), (20, list(range(0, 20, 2)))])
def test_eigenvector_ticks_are_whole_indices_that_do_not_crowd(top, ticks):
    fig = figures.vector_overlap_heatmap(np.eye(top), "a", "b")
    assert list(fig.layout.xaxis.tickvals) == list(fig.layout.yaxis.tickvals) == ticks
    assert len(ticks) <= 12


def test_eigenvector_alt_counts_the_diagonal():
    matrix = np.eye(4)[[0, 1, 3, 2]]
    alt = figures.alt_text(figures.vector_overlap_heatmap(matrix, "a", "b"))
    assert "mean on the diagonal 0.50" in alt
    assert "2 of 4" in alt


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3)), np.zeros(3), np.zeros((0, 0)), 1.0], ids=lambda m: str(np.shape(m))
)
def test_what_is_not_square_is_refused(matrix):
    with pytest.raises(DataError, match="square"):
        figures.vector_overlap_heatmap(matrix, "a", "b")
    with pytest.raises(DataError, match="each of 2"):
        figures.alignment_heatmap(["a", "b"], sure(matrix))


# --------------------------------------------------------------------------------------------------------- curves


def test_overlaps_and_the_chance_level_along_k():
    ks, chance, own = np.array([1, 2, 5, 20, 100]), np.array([0.9, 0.5, 0.2, 0.12, 0.5]), curves(3, 5)
    fig = figures.overlap_along_k(ks, own, chance)
    guide, *lines = fig.data
    np.testing.assert_allclose(guide.y, chance, rtol=1e-6)
    assert guide.line.dash == "dot"
    for line, (pair, band) in zip(lines, own.items(), strict=True):
        assert line.name == pair
        np.testing.assert_array_equal(line.x, ks)
        np.testing.assert_allclose(line.y, band.mean, rtol=1e-6)
        np.testing.assert_allclose(line.error_y.array, 0.05, rtol=1e-5)
    assert lines[0].text[3] == " [70.0%, 80.0%]"
    assert fig.layout.xaxis.type == "log"
    assert "k = 20: from 75.0% (pair 0) to 91.7% (pair 2)" in figures.alt_text(fig)
    assert "images paired at random give 12.0%" in figures.alt_text(fig)


def test_matched_features_stand_at_their_index_and_gaps_stay_gaps():
    cosines = np.array([[0.8, 0.9, 1.0], [np.nan] * 3, [-0.5, -0.3, -0.4]])
    fig = figures.matched_features(MATCH, cosines, n=500)
    overlap, cosine = fig.data
    np.testing.assert_array_equal(overlap.x, [1, 2, 3])
    np.testing.assert_allclose(overlap.y, [0.9, 0.7, 0.2], rtol=1e-6)
    np.testing.assert_allclose(cosine.y, [0.9, np.nan, -0.4], rtol=1e-6)
    reach = 4.303 * 0.1 / 3**0.5  # Student's t of 2 degrees of freedom
    np.testing.assert_allclose(cosine.error_y.array, [reach, 0, reach], rtol=1e-3)
    assert list(cosine.marker.symbol) == ["circle", "circle", "circle-open"]
    assert cosine.text[2] == "feature 2, partner 1<br>cosine −0.40 [−0.65, −0.15]"
    assert fig.layout.yaxis.range[0] < -0.4 - reach
    assert "+0.90 where eigenvectors agree, −0.40 where eigenvectors do not" in figures.alt_text(fig)


def test_features_without_a_gradient_say_so():
    fig = figures.matched_features(MATCH, np.full((3, 2), np.nan), n=500)
    assert "none of them has an input gradient" in figures.alt_text(fig)


@pytest.mark.parametrize("cosines", [np.zeros(3), np.zeros((2, 4)), np.zeros((3, 1, 2))], ids=lambda c: str(c.shape))
def test_cosines_of_another_shape_are_refused(cosines):
    with pytest.raises(DataError, match=r"\[3, m\] is needed"):
        figures.matched_features(MATCH, cosines, n=500)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_pair_has_its_own_look(dark):
    _, *lines = figures.overlap_along_k([1, 2, 3], curves(10, 3), np.ones(3), dark=dark).data
    assert len({line.line.color for line in lines}) == 10
    assert len({line.marker.symbol for line in lines}) == 10


@pytest.mark.parametrize("count", [0, 11])
def test_no_pair_and_too_many_pairs_are_refused(count):
    with pytest.raises(
        DataError, match=f"Got {count} pairs.*{'at least two' if count == 0 else 'fewer architectures'}"
    ):
        figures.overlap_along_k([1, 2, 3], curves(count, 3), np.ones(3))


@pytest.mark.parametrize("ks", [[0, 1, 2], [1, 1, 2], [3, 2, 1]], ids=str)
def test_ks_that_do_not_ascend_are_refused(ks):
    with pytest.raises(DataError, match="must ascend from 1"):
        figures.overlap_along_k(ks, curves(1, 3), np.ones(3))


def test_a_curve_of_another_length_is_named():
    with pytest.raises(DataError, match="FC and Conv has 2 numbers; 3"):
        figures.overlap_along_k([1, 2, 3], {"FC and Conv": sure([0.1, 0.2])}, np.ones(3))
