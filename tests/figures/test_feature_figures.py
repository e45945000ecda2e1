"""Figures of all features: dots that can be clicked, means, bins and sums that add up."""

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest
from reading import band, legend, lines, notes

from ntkcore import figures
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.analysis.intervals import wilson
from ntkcore.errors import DataError
from ntkcore.figures.drawing.palette import FEATURES
from ntkcore.figures.features.along_index import index_bins, running_mean
from ntkcore.figures.features.null import share_bins
from ntkcore.readings.words import signed


def dots(fig: go.Figure) -> list[go.Scatter]:
    return [trace for trace in fig.data if trace.customdata is not None]


# ----------------------------------------------------------------------------------- usefulness against robustness


@pytest.mark.parametrize("colour", ["index", "class"])
def test_every_feature_is_a_dot_that_knows_its_index(results, colour):
    fig = figures.usefulness_robustness(results.rho, results.gamma, classes=results.codes, colour=colour)
    assert sorted(np.concatenate([t.customdata for t in dots(fig)]).tolist()) == list(range(200))
    for trace in dots(fig):
        np.testing.assert_allclose(trace.x, results.rho[trace.customdata], rtol=1e-6)
        np.testing.assert_allclose(trace.y, results.gamma[trace.customdata], rtol=1e-6)
        code = results.codes[trace.customdata[0]]
        assert (results.codes[trace.customdata] == code).all()
        assert trace.marker.symbol == FEATURES[code].symbol
        if colour == "class":
            assert trace.marker.color == FEATURES[code].light
        else:
            np.testing.assert_allclose(trace.marker.color, np.log10(trace.customdata + 1.0), atol=1e-6)


def test_largest_eigenvalues_are_drawn_on_top(results):
    (trace,) = dots(figures.usefulness_robustness(results.rho, results.gamma))
    assert (np.diff(trace.customdata) < 0).all()


def test_features_at_one_spot_are_named_in_the_hover_text():
    fig = figures.usefulness_robustness([0.5, 0.7, 0.5, 0.5], [0.1, 0.1, 0.1, 0.2])
    (trace,) = dots(fig)
    texts = dict(zip(trace.customdata.tolist(), trace.text, strict=True))
    assert texts == {0: "<br>same spot: 2", 2: "<br>same spot: 0", 1: "", 3: ""}


def test_hover_text_tells_the_p_value():
    fig = figures.usefulness_robustness([0.5, 0.7, 0.5], [0.1, 0.1, 0.1], p_values=[0.5, 0.00012, 0.25])
    (trace,) = dots(fig)
    texts = dict(zip(trace.customdata.tolist(), trace.text, strict=True))
    assert texts == {0: "<br>p = 0.5<br>same spot: 2", 1: "<br>p = 0.00012", 2: "<br>p = 0.25<br>same spot: 0"}


def test_a_crowded_spot_is_counted_not_listed():
    fig = figures.usefulness_robustness(np.full(9, 0.5), np.zeros(9))
    texts = dict(zip(dots(fig)[0].customdata.tolist(), dots(fig)[0].text, strict=True))
    assert texts[0] == "<br>same spot: 1, 2, 3, 4 and 4 more"
    assert texts[8] == "<br>same spot: 0, 1, 2, 3 and 4 more"


def test_selected_feature_has_a_ring_and_wilson_intervals(results):
    fig = figures.usefulness_robustness(results.rho, results.gamma, selected=3, m=40)
    bars, ring = fig.data[-2:]
    assert (ring.x[0], ring.y[0]) == (results.rho[3], results.gamma[3])
    for bar, share in ((bars.error_x, results.rho[3]), (bars.error_y, results.gamma[3])):
        low, high = wilson(share, 40)
        assert bar.array[0] == pytest.approx(high - share)
        assert bar.arrayminus[0] == pytest.approx(share - low)
    others = [t for t in dots(fig) if t.error_x.array is not None]
    assert not others, "only the selected feature carries error bars"


def test_guides_are_at_chance_at_the_test_and_at_the_share_to_keep():
    fig = figures.usefulness_robustness([0.4, 0.9], [0.0, 0.8], chance=0.5, useful_from=0.6, keep=0.25)
    upright = {shape.x0 for shape in fig.layout.shapes if shape.x0 == shape.x1}
    slopes = sorted(shape.y1 / shape.x1 for shape in fig.layout.shapes if shape.x0 == 0 and shape.y0 == 0)
    assert upright == {0.5, 0.6}
    np.testing.assert_allclose(slopes, [0.25, 1.0])
    assert {"chance 50%", "useful from about 60%", "keeps 25%"} <= {a.text for a in fig.layout.annotations}


def test_many_features_are_drawn_by_webgl_few_by_svg(results):
    many = np.linspace(0, 1, 5000)
    assert isinstance(figures.usefulness_robustness(many, many).data[0], go.Scattergl)
    assert isinstance(figures.usefulness_robustness(results.rho, results.gamma).data[0], go.Scatter)


def test_colour_by_class_needs_classes():
    with pytest.raises(DataError, match="hand in classes"):
        figures.usefulness_robustness([0.5], [0.5], colour="class")


def test_alt_counts_the_classes():
    codes = [ROBUST, BRITTLE, WEAK, BETWEEN]
    fig = figures.usefulness_robustness([0.9, 0.8, 0.5, 0.8], [0.7, 0.0, 0.1, 0.3], classes=codes)
    alt = figures.alt_text(fig)
    assert "1 robust, 1 in between, 1 brittle, 1 weak alone" in alt
    assert "robustness from 0.00 to 0.70 (feature 0)" in alt


# ------------------------------------------------------------------------------------------------ along the index


def test_running_mean_agrees_with_a_plain_loop():
    values = np.random.default_rng(3).uniform(size=300)
    expected = [
        np.mean([values[j] for j in range(300) if (i + 1) / 1.3 <= j + 1 <= (i + 1) * 1.3 + 1e-12]) for i in range(300)
    ]
    np.testing.assert_allclose(running_mean(values, ratio=1.3), expected)


def test_running_mean_leaves_the_first_indices_alone():
    np.testing.assert_allclose(running_mean([0.9, 0.1, 0.5], ratio=1.3), [0.9, 0.1, 0.5])


def test_shares_along_the_index_draw_dots_means_and_bands(results):
    fig = figures.shares_along_index(results.rho, results.gamma, m=40)
    named = {trace.name: trace for trace in fig.data}
    np.testing.assert_allclose(named["usefulness"].y, results.rho, rtol=1e-6)
    np.testing.assert_allclose(named["robustness"].y, results.gamma, rtol=1e-6)
    mean = running_mean(results.gamma)
    low, high = wilson(mean, 40)
    np.testing.assert_allclose(named["robustness, running mean"].y, mean, rtol=1e-5)
    np.testing.assert_allclose(named["robustness, upper 95 % bound"].y, high, rtol=1e-5)
    np.testing.assert_allclose(named["robustness, lower 95 % bound"].y, low, atol=1e-6)
    assert named["robustness, lower 95 % bound"].fill == "tonexty"


@pytest.mark.parametrize("count", [1, 2, 3, 17, 2000], ids=lambda c: f"F={c}")
@pytest.mark.parametrize("per_decade", [3, 14])
def test_index_bins_cover_every_index_once(count, per_decade):
    edges = index_bins(count, per_decade)
    assert edges[0] == 0
    assert edges[-1] == count
    assert (np.diff(edges) > 0).all()
    assert len(edges) - 1 <= min(count, per_decade * 4 + 2)


def test_class_shares_stack_to_one_in_every_bin(results):
    fig = figures.class_shares(results.codes)
    assert [bar.name for bar in fig.data] == [meaning.words for meaning in FEATURES.values()]
    np.testing.assert_allclose(np.sum([bar.y for bar in fig.data], axis=0), 1, rtol=1e-6)
    for code, bar in zip(FEATURES, fig.data, strict=True):
        assert np.sum(bar.customdata) == np.count_nonzero(results.codes == code)
        assert bar.marker.color == FEATURES[code].light
    assert fig.data[0].x[0] == "0"
    assert fig.data[0].x[-1].endswith("–199")


def test_perturbation_split_adds_up(results):
    fig = figures.perturbation_split(results.contributions, classes=results.codes)
    bars = [trace for trace in fig.data if isinstance(trace, go.Bar)]
    (line,) = (trace for trace in fig.data if isinstance(trace, go.Scatter))
    for bar in bars:
        code = next(code for code, meaning in FEATURES.items() if meaning.words == bar.name)
        assert np.sum(bar.y) == pytest.approx(results.contributions[results.codes == code].sum(), abs=1e-5)
        assert bar.marker.color == FEATURES[code].light
    np.testing.assert_allclose(line.y, results.contributions.cumsum(), atol=1e-6)
    assert signed(results.contributions.sum(), "+.3g") in figures.alt_text(fig)


def test_perturbation_split_has_a_bar_for_each_of_the_first_features():
    fig = figures.perturbation_split(np.array([3.0, -2.0, 1.0, 0.0]))
    assert fig.data[0].text[:3] == ("0", "1", "2")
    np.testing.assert_allclose(fig.data[0].y[:3], [3, -2, 1])
    np.testing.assert_allclose(fig.data[0].x[:2] + 0.5, [1, 2])  # around the index, which is drawn at i + 1
    assert "largest part is +3, from feature 0" in figures.alt_text(fig)


# ------------------------------------------------------------------------------------------------- against the null


def test_histogram_counts_every_feature_and_the_null_is_its_mean_and_quantiles(results):
    null = np.random.default_rng(1).binomial(40, 0.5, (50, 200)) / 40
    fig = figures.usefulness_over_null(results.rho, null, m=40, classes=results.codes, useful_from=0.7, chance=0.5)
    bars = [trace for trace in fig.data if isinstance(trace, go.Bar)]
    for bar in bars:
        code = next(code for code, meaning in FEATURES.items() if meaning.words == bar.name)
        assert sum(bar.y) == np.count_nonzero(results.codes == code)
    at = bars[0].x - np.float32(bars[0].width) / 2
    lines = {trace.name: trace.y for trace in fig.data if isinstance(trace, go.Scatter)}
    for k, left in enumerate(at):  # every share k/40 lies inside of a bin, none on an edge
        inside = (null > left) & (null < left + bars[0].width)
        counts = inside.sum(1)
        assert lines["permuted labels, mean"][k] == pytest.approx(counts.mean())
        assert lines["permuted labels, 97.5 % quantile"][k] == pytest.approx(np.quantile(counts, 0.975))
        assert sum(bar.y[k] for bar in bars) == ((results.rho > left) & (results.rho < left + bars[0].width)).sum()
    assert {"chance 50%", "useful from about 70%"} <= {a.text for a in fig.layout.annotations}


@pytest.mark.parametrize(("m", "low", "high"), [(20, 0.2, 0.9), (2000, 0.1, 0.8), (7, 1.0, 1.0)], ids=str)
def test_bins_of_shares_hold_equally_many_shares_and_all(m, low, high):
    edges = share_bins(low, high, m)
    counts = np.array(
        [np.count_nonzero((a < k) & (k < b)) for a, b in pairwise(edges * m) for k in [np.arange(m + 99)]]
    )
    assert len(counts) <= 48
    assert (counts == counts[0]).all()
    assert edges[0] < low < high + 1e-12 < edges[-1] + 1e-12


def test_a_null_of_other_features_is_refused():
    with pytest.raises(DataError, match=r"\[P, 2\] is needed"):
        figures.usefulness_over_null([0.5, 0.6], np.ones((5, 3)), m=10)


# ------------------------------------------------------------------------------------------------------- accuracy


def curve(k=(1, 10, 100), clean=(0.5, 0.7, 0.9), attacked=(0.4, 0.3, 0.06)) -> figures.Curve:
    return figures.Curve(np.array(k), band(*clean), band(*attacked))


def error_bars(trace: go.Scatter) -> tuple[np.ndarray, np.ndarray]:
    return trace.y - trace.error_y.arrayminus, trace.y + trace.error_y.array


def test_kept_subsets_draw_clean_above_and_attacked_below_with_their_bands():
    fig = figures.kept_subsets({"top": curve(), "rest": curve(k=(1, 2, 3))}, attack="PGD")
    shown = lines(fig)
    words = ("largest k", "first k that are not robust")
    assert set(shown) == {f"{name}, {kind}" for name in words for kind in ("clean", "under PGD")}
    np.testing.assert_allclose(shown["largest k, clean"].y, [0.5, 0.7, 0.9], rtol=1e-6)
    np.testing.assert_allclose(shown["largest k, under PGD"].y, [0.4, 0.3, 0.06], rtol=1e-6)
    np.testing.assert_array_equal(shown["first k that are not robust, clean"].x, [1, 2, 3])
    assert {trace.yaxis for name, trace in shown.items() if name.endswith("clean")} == {"y"}
    assert {trace.yaxis for name, trace in shown.items() if name.endswith("PGD")} == {"y2"}
    (low,) = (t for t in fig.data if t.name == "largest k, under PGD, lowest")
    np.testing.assert_allclose(low.y, [0.35, 0.25, 0.01], atol=1e-6)
    assert legend(fig) == list(words)


def test_kept_classes_keep_their_colours():
    shown = lines(figures.kept_subsets({"robust": curve(), "brittle": curve()}))
    assert shown["first k robust, clean"].line.color == FEATURES[ROBUST].light
    assert shown["first k brittle, clean"].line.color == FEATURES[BRITTLE].light


def test_kept_subsets_refuse_unknown_keys_and_nothing():
    with pytest.raises(DataError, match="top, bottom, robust, brittle, rest"):
        figures.kept_subsets({"best": curve()})
    with pytest.raises(DataError, match="one or more"):
        figures.kept_subsets({})


def test_accuracy_along_time_draws_both_lines_their_bands_and_a_mark():
    fig = figures.along_time(curve(k=(0.1, 10.0, 20.0)), t=10.0, chance=0.5)
    shown = lines(fig)
    np.testing.assert_allclose(shown["clean"].x, [0.1, 10.0, 20.0], rtol=1e-6)
    np.testing.assert_allclose(shown["under attack"].y, [0.4, 0.3, 0.06], rtol=1e-6)
    assert {"chance 50%", "t = 10"} <= set(notes(fig))
    assert "at most 0.40, at t = 0.1" in figures.alt_text(fig)


@pytest.mark.parametrize("times", [(0.0, 1.0, 2.0), (1.0, np.inf, 2.0)], ids=["zero", "infinite"])
def test_times_without_a_place_on_the_axis_are_refused(times):
    with pytest.raises(DataError, match="log axis"):
        figures.along_time(curve(k=times))


def test_bands_stand_at_their_first_index_with_their_intervals():
    fig = figures.feature_bands(curve(k=(0, 1, 2)), count=4, chance=0.5, attack="PGD")
    shown = lines(fig)
    assert set(shown) == {"clean", "under PGD"}
    np.testing.assert_array_equal(shown["clean"].customdata, [0, 1, 2])
    assert fig.layout.xaxis.ticktext == ("0", "1", "2–3")
    assert list(fig.layout.xaxis.tickvals) == list(shown["clean"].x) == [1, 2, 3]
    low, high = error_bars(shown["under PGD"])
    np.testing.assert_allclose([low, high], [[0.35, 0.25, 0.01], [0.45, 0.35, 0.11]], atol=1e-6)
    assert legend(fig) == ["clean", "under PGD", "chance 50%"]
    assert figures.to_frame(fig)["x"].tolist() == [0, 1, 2] * 2


@pytest.mark.parametrize("first", [(1, 2, 4), (0, 2, 2), (0, 1, 9)], ids=["not-from-0", "not-ascending", "beyond"])
def test_bands_that_do_not_tile_the_features_are_refused(first):
    with pytest.raises(DataError, match=r"ascend from 0 to below 9"):
        figures.feature_bands(curve(k=first), count=9)
