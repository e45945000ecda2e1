"""Spectrum and kernel figures: what is drawn is what was computed, at the right place, in the right colour."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ntkcore import figures
from ntkcore.analysis.block_means import block_means, class_edges, read_block_means
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.errors import DataError, SpecError
from ntkcore.figures.drawing.palette import FEATURES, class_colours
from ntkcore.kernels.products import StoredMatrix


def drawn(fig, panel: str = "y") -> dict[int, float]:
    """Index (customdata) -> height of every dot of a panel."""
    found = {}
    for trace in fig.data:
        if trace.customdata is not None and (trace.yaxis or "y") == panel:
            assert np.array_equal(trace.x, np.asarray(trace.customdata) + 1), "index i is drawn at i + 1"
            found |= dict(zip(trace.customdata.tolist(), trace.y.tolist(), strict=True))
    return found


def test_eigenvalues_and_label_energy_are_drawn_at_their_index(results):
    fig = figures.eigenvalues(results.values, results.energy)
    np.testing.assert_allclose([drawn(fig)[i] for i in range(200)], results.values, rtol=1e-6)
    np.testing.assert_allclose([drawn(fig, "y2")[i] for i in range(200)], results.energy, rtol=1e-6)
    assert (fig.layout.xaxis.type, fig.layout.yaxis.type, fig.layout.yaxis2.type) == ("log", "log", "log")


def test_eigenvalues_not_above_zero_are_left_out_and_counted():
    fig = figures.eigenvalues([2.0, 1.0, 0.0, -1e-18], [0.5, 0.3, 0.1, 0.1])
    heights = drawn(fig)
    assert heights[1] == 1.0
    assert np.isnan([heights[2], heights[3]]).all()
    assert "2 are not above zero and not drawn" in figures.alt_text(fig)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_classes_of_features_have_their_colours(results, dark):
    fig = figures.eigenvalues(results.values, results.energy, classes=results.codes, dark=dark)
    dots = [trace for trace in fig.data if trace.customdata is not None and (trace.yaxis or "y") == "y"]
    assert len(dots) == len(FEATURES)
    for trace in dots:
        code = results.codes[trace.customdata[0]]
        assert trace.marker.color == FEATURES[code].colour(dark)
        assert set(trace.customdata) == set(np.flatnonzero(results.codes == code))


def test_selected_eigenvalue_is_ringed_in_both_panels(results):
    rings = [t for t in figures.eigenvalues(results.values, results.energy, selected=7).data if t.name == "selected"]
    assert [(t.x[0], t.yaxis) for t in rings] == [(8, "y"), (8, "y2")]
    np.testing.assert_allclose([t.y[0] for t in rings], [results.values[7], results.energy[7]], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([1.0, 2.0], [1.0]), "label_energy has 1 numbers; 2 are needed"),
        (([], []), "values has shape"),
        (([[1.0]], [1.0]), "a vector"),
    ],
    ids=["too-short", "empty", "matrix"],
)
def test_wrong_shapes_are_refused_in_words(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        figures.eigenvalues(*arguments)


def test_unknown_codes_and_indices_are_refused():
    with pytest.raises(SpecError, match=r"classes are \[0, 7\]; whole numbers out of"):
        figures.eigenvalues([2.0, 1.0], [0.5, 0.5], classes=[0, 7])
    with pytest.raises(SpecError, match="selected is 2; it must be at least 0 and at most 1"):
        figures.eigenvalues([2.0, 1.0], [0.5, 0.5], selected=2)


def test_cumulative_shares_are_running_sums(results):
    fig = figures.cumulative(results.values, results.energy, effective_rank=12.0)
    mass, energy = fig.data
    np.testing.assert_allclose(mass.y, np.cumsum(results.values) / results.values.sum(), rtol=1e-6)
    np.testing.assert_allclose(energy.y, np.cumsum(results.energy), rtol=1e-6)
    # along the number of eigenvalues, which the effective rank is too
    np.testing.assert_array_equal(mass.x, np.arange(1, 1 + len(mass.y)))
    assert dict(zip(fig.layout.xaxis.ticktext, fig.layout.xaxis.tickvals, strict=True))["10"] == 10
    # on a log axis a line is placed by its value, a text by its logarithm
    assert fig.layout.shapes[0].x0 == 12.0
    assert fig.layout.annotations[0].x == pytest.approx(np.log10(12.0))


@pytest.mark.parametrize("t", [0.0, 0.01, 3.0, np.inf], ids=lambda t: f"t={t}")
def test_learned_share_follows_gradient_flow(t):
    values = np.array([100.0, 1.0, 1e-3, 0.0])
    fig = figures.learned_modes(values, t)
    expected = [1 - np.exp(-t * lam) if lam > 0 else 0.0 for lam in values]
    np.testing.assert_allclose([drawn(fig)[i] for i in range(4)], expected, atol=1e-7)
    np.testing.assert_allclose([drawn(fig, "y2")[i] for i in range(3)], 1 / values[:3], rtol=1e-6)
    lines = [shape.y0 for shape in fig.layout.shapes]
    assert lines == ([t] if 0 < t < np.inf else [])


def test_every_training_time_is_a_frame():
    """The shares are those of gradient flow, from nothing to all; the line moves with them."""
    values = np.array([100.0, 1.0, 1e-3, 0.0])
    fig = figures.modes_along_time(values)
    steps = fig.layout.sliders[0].steps
    assert len(steps) == len(fig.frames) <= 51
    for step, frame in zip(steps, fig.frames, strict=True):
        t = float(frame.data[1].y[0])
        assert float(step.label) == pytest.approx(t, rel=0.05)
        np.testing.assert_allclose(frame.data[0].y, -np.expm1(-t * values), atol=1e-6)
    assert fig.frames[0].data[0].y.max() < 0.02 < 0.98 < fig.frames[-1].data[0].y[2]


def test_learned_modes_alt_counts_the_half_learned():
    alt = figures.alt_text(figures.learned_modes([1.0, 0.5, 0.1], t=1.5))  # 1 - exp(-1.5 lam) = .78, .53, .14
    assert "2 of 3 modes" in alt
    assert "from 1 to 10" in alt


@pytest.mark.parametrize("t", [-1.0, np.nan], ids=["negative", "nan"])
def test_impossible_times_are_refused(t):
    with pytest.raises(DataError, match="at least 0"):
        figures.learned_modes([1.0], t)


def test_eigenvector_dots_know_their_image_and_class():
    rng = np.random.default_rng(0)
    v, labels = rng.normal(size=(2, 60)), rng.integers(0, 3, 60)
    fig = figures.eigenvectors(*v, labels, ["a", "b", "c"], i=2, j=5, selected=11)
    clickable = [trace for trace in fig.data if trace.customdata is not None]
    assert sorted(np.concatenate([t.customdata for t in clickable]).tolist()) == list(range(60))
    for number, trace in enumerate(clickable):
        assert trace.marker.color == class_colours(3)[number]
        assert (labels[trace.customdata] == number).all()
        np.testing.assert_allclose([trace.x, trace.y], v[:, trace.customdata], rtol=1e-6)
        assert trace.unselected.marker.opacity == trace.marker.opacity, "a click must not fade the others"
        assert trace.customdata.ndim == 1, "a click on a table of customdata gives an object, no number"
    ring = fig.data[-1]
    assert (ring.x[0], ring.y[0]) == tuple(v[:, 11])
    assert "eigenvector 2" in fig.layout.xaxis.title.text


def test_labels_beyond_the_class_names_are_refused():
    with pytest.raises(SpecError, match=r"labels are \[0, 2\]; whole numbers out of \[0, 1\]"):
        figures.eigenvectors([0.1, 0.2], [0.1, 0.2], [0, 2], ["a", "b"], i=0, j=1)


def test_eigenvectors_of_a_whole_data_set_stay_light():
    """Some images of each class are drawn, as many as a browser bears, and the rest is told."""
    v, labels = np.random.default_rng(0).normal(size=(2, 50_000)), np.arange(50_000) % 10
    fig = figures.eigenvectors(*v, labels, [f"class {i}" for i in range(10)], i=0, j=1, selected=17)
    drawn = np.concatenate([trace.customdata for trace in fig.data if trace.customdata is not None])
    assert len(drawn) == 5000
    assert np.array_equal(np.bincount(labels[drawn]), [500] * 10)
    assert len(fig.to_json()) < 300_000
    assert figures.alt_text(fig).endswith("of each class, one in 10 is drawn.")


# ------------------------------------------------------------------------------------------------ kernel heat map


@pytest.mark.parametrize(
    "counts",
    [[1000, 1000], [1999, 1], [200] * 10, [7, 0, 500], [3, 4]],
    ids=lambda c: "-".join(map(str, c[:3])),
)
def test_blocks_never_cross_classes_and_stay_few(counts):
    edges = class_edges(counts, most=300)
    assert edges[0] == 0
    assert edges[-1] == sum(counts)
    assert (np.diff(edges) > 0).all()
    assert set(np.cumsum(counts)) <= set(edges.tolist())
    assert len(edges) - 1 <= 301
    if sum(counts) <= 300:
        assert len(edges) == sum(counts) + 1


def test_heat_map_is_the_kernel_ordered_by_class():
    labels = np.array([1, 0, 1, 0])
    kernel = np.arange(16.0).reshape(4, 4)
    fig = figures.kernel_heatmap(kernel, labels, ["a", "b"])
    order = [1, 3, 0, 2]
    np.testing.assert_array_equal(fig.data[0].z, kernel[np.ix_(order, order)])
    assert fig.layout.xaxis.ticktext == ("a", "b")
    assert list(fig.layout.xaxis.tickvals) == [1, 3]
    assert {shape.y0 for shape in fig.layout.shapes} == {2, 0}
    assert fig.layout.yaxis.range == (4, 0), "row 0 is at the top"
    assert "mean 7.5 within a class, 7.5 between classes" in figures.alt_text(fig)


def test_heat_map_shrinks_a_large_kernel_to_block_means():
    kernel = np.random.default_rng(2).normal(size=(600, 600))
    fig = figures.kernel_heatmap(kernel, np.repeat([0, 1], 300), ["a", "b"], max_pixels=200)
    np.testing.assert_allclose(fig.data[0].z, kernel.reshape(200, 3, 200, 3).mean(axis=(1, 3)), atol=1e-6)


def test_heat_map_takes_means_over_blocks_of_uneven_classes():
    kernel, labels = np.random.default_rng(3).normal(size=(50, 50)), np.repeat([0, 1, 0], [9, 20, 21])
    means = block_means(StoredMatrix(torch.from_numpy(kernel)), labels, 2, most=7)
    order = np.argsort(labels, kind="stable")
    blocks = [order[low:high] for low, high in pairwise(means.edges)]
    assert len(blocks) == 6
    np.testing.assert_allclose(means.pixels, [[kernel[np.ix_(a, b)].mean() for b in blocks] for a in blocks])
    np.testing.assert_allclose(means.between, kernel[labels[:, None] != labels].mean())
    back = read_block_means(means.arrays())
    assert all(np.array_equal(getattr(back, name), value) for name, value in means.arrays().items())


def test_heat_map_alt_gives_the_class_means():
    kernel = np.array([[9.0, 2, 1, 1], [2, 9, 1, 1], [1, 1, 9, 4], [1, 1, 4, 9]])
    alt = figures.alt_text(figures.kernel_heatmap(kernel, np.array([0, 0, 1, 1]), ["a", "b"]))
    assert "mean 3 within a class, 1 between classes" in alt  # the diagonal does not count


def test_heat_map_leaves_out_a_class_without_images():
    fig = figures.kernel_heatmap(np.eye(3), np.array([0, 0, 2]), ["a", "b", "c"])
    assert fig.layout.xaxis.ticktext == ("a", "c")


def test_heat_map_refuses_a_rectangular_kernel():
    with pytest.raises(DataError, match="square"):
        figures.kernel_heatmap(np.ones((2, 3)), [0, 1], ["a", "b"])


def test_codes_are_those_of_the_analysis():
    assert list(FEATURES) == [ROBUST, BETWEEN, BRITTLE, WEAK]
