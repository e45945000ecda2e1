"""Figures of transfer to finite nets: lines at the numbers handed in, shared axes, and what is not there yet."""

import numpy as np
import pytest
from reading import band, legend, lines, notes

from ntkcore import figures
from ntkcore.errors import DataError
from ntkcore.figures.attacks.training import step_axis
from ntkcore.figures.drawing.bands import MISSING, few
from ntkcore.figures.drawing.palette import PAPER, SOURCES

EPS = np.array([0.0, 4.0, 8.0]) / 255


# --------------------------------------------------------------------------------------- accuracy along the radius


def test_accuracy_has_a_line_and_a_band_for_each_source_and_net():
    bands = {"white_fgsm": band(0.9, 0.4, 0.1), "noise": band(0.9, 0.9, 0.88)}
    fig = figures.accuracy_along_eps(EPS, {"width 32": bands, "width 512": {"white_pgd": band(0.9, 0.2, 0.0)}})
    drawn = lines(fig)
    assert set(drawn) == {"white-box FGSM, width 32", "random noise, width 32", "white-box PGD, width 512"}
    line = drawn["white-box FGSM, width 32"]
    np.testing.assert_allclose(line.x, [0, 4, 8], rtol=1e-6)
    np.testing.assert_allclose(line.y, [0.9, 0.4, 0.1], rtol=1e-6)
    assert (line.line.color, line.line.dash, line.marker.symbol) == ("#000000", "solid", "square")
    assert line.text[1] == "<br>95 %: 35.0% to 45.0%"
    edges = {trace.name: trace for trace in fig.data if trace.hoverinfo == "skip"}
    np.testing.assert_allclose(edges["random noise, width 32, highest"].y, [0.95, 0.95, 0.93], rtol=1e-6)
    np.testing.assert_allclose(edges["random noise, width 32, lowest"].y, [0.85, 0.85, 0.83], rtol=1e-6)
    assert edges["random noise, width 32, lowest"].fill == "tonexty"
    assert drawn["white-box PGD, width 512"].xaxis == "x2"


def test_legend_names_each_source_once_in_the_palettes_order():
    panels = {"width 32": {"noise": band(1, 1, 1)}, "width 64": {key: band(1, 1, 1) for key in reversed(SOURCES)}}
    fig = figures.accuracy_along_eps(EPS, panels, eps_mark=8 / 255, chance=0.5)
    assert legend(fig) == [meaning.words for meaning in SOURCES.values()] + ["chosen ε", "chance 50%"]
    assert {trace.legendgroup for trace in fig.data if trace.name.startswith("random noise")} == {"random noise"}


@pytest.mark.parametrize("columns", [1, 2, 3], ids=lambda c: f"columns={c}")
@pytest.mark.parametrize("count", [1, 2, 5, 6], ids=lambda c: f"panels={c}")
def test_panels_share_their_axes_and_the_lowest_of_each_column_are_named(count, columns):
    titles = [f"width {2**k}" for k in range(5, 5 + count)]
    fig = figures.accuracy_along_eps(EPS, {title: {"noise": band(1, 1, 1)} for title in titles}, columns=columns)
    across, up = list(fig.select_xaxes()), list(fig.select_yaxes())
    assert [note for note in notes(fig) if note.startswith("width")] == titles
    assert len(across) == len(up) == count
    assert {axis.matches for axis in up} == {"y"}
    assert {tuple(axis.range) for axis in up} == {(-0.03, 1.03)}
    assert len({tuple(axis.range) for axis in across}) == 1
    wide = min(columns, count)
    assert [bool(axis.title.text) for axis in up] == [k % wide == 0 for k in range(count)]
    assert [bool(axis.title.text) for axis in across] == [k + wide >= count for k in range(count)]


def test_panel_without_sources_says_so_and_has_no_guides():
    panels = {"width 32": {"noise": band(1, 1, 1)}, "width 64": {}, "width 128": {"noise": band(*[np.nan] * 3)}}
    fig = figures.accuracy_along_eps(EPS, panels, eps_mark=8 / 255, chance=0.5)
    assert notes(fig).count(MISSING) == 2
    assert {shape.xref for shape in fig.layout.shapes} == {"x", "x domain"}
    assert len({trace.xaxis for trace in fig.data} - {None}) == 3, "axes without a trace are not drawn"
    assert "1 of 3 panels" in figures.alt_text(fig)
    assert "0 of 1 panel" in figures.alt_text(figures.accuracy_along_eps(EPS, {"width 32": {}}))


def test_radius_of_the_l2_norm_is_not_counted_in_pixel_steps():
    panels = {"width 32": {"noise": band(0.9, 0.8, 0.7)}}
    fig = figures.accuracy_along_eps([0, 1, 2], panels, norm="l2", eps_mark=1.0)
    np.testing.assert_array_equal(lines(fig)["random noise, width 32"].x, [0, 1, 2])
    assert "ℓ2" in next(fig.select_xaxes()).title.text
    assert "ε = 1: random noise 80 %" in figures.alt_text(fig)


def test_one_seed_has_no_band_and_missing_bounds_are_the_mean():
    mean = np.array([0.9, 0.5, np.nan])
    fig = figures.accuracy_along_eps(EPS, {"a": {"noise": figures.Band(mean, mean * np.nan, mean)}})
    (line,) = lines(fig).values()
    np.testing.assert_allclose(line.y, [0.9, 0.5], rtol=1e-6)
    assert line.text == ("", "")
    assert not [trace for trace in fig.data if trace.fill]


def test_unknown_sources_wrong_lengths_and_means_outside_are_refused():
    with pytest.raises(DataError, match=r"width 32 is keyed by \['fgsm'\]; use some of white_fgsm, white_pgd"):
        figures.accuracy_along_eps(EPS, {"width 32": {"fgsm": band(1, 1, 1)}})
    with pytest.raises(DataError, match="mean of width 32 by noise has 2 numbers; 3 are needed"):
        figures.accuracy_along_eps(EPS, {"width 32": {"noise": band(1, 1)}})
    with pytest.raises(DataError, match="low <= mean <= high"):
        figures.accuracy_along_eps(EPS, {"width 32": {"noise": band(1, 1, 1, reach=-0.1)}})
    with pytest.raises(DataError, match="at least one"):
        figures.accuracy_along_eps(EPS, {})


# --------------------------------------------------------------------------------------------------- along the width


def test_strength_has_shares_above_and_the_cosine_below():
    fig = figures.strength_along_width([32, 512], {"kernel_fgsm": band(0.6, 1.1)}, band(0.4, 0.9, reach=0.1))
    share, cosine = lines(fig).values()
    np.testing.assert_allclose(share.x, [32, 512])
    np.testing.assert_allclose(share.y, [0.6, 1.1], rtol=1e-6)
    np.testing.assert_allclose(share.error_y.array, [0.05, 0.05], rtol=1e-5)
    np.testing.assert_allclose(cosine.y, [0.4, 0.9], rtol=1e-6)
    np.testing.assert_allclose(cosine.error_y.arrayminus, [0.1, 0.1], rtol=1e-5)
    assert (share.yaxis, cosine.yaxis) == ("y", "y2")
    assert [(s.y0, s.y1, s.yref) for s in fig.layout.shapes] == [(1, 1, "y")]
    assert fig.layout.yaxis.range[1] > 1.15
    assert fig.layout.yaxis2.range[0] < 0
    assert fig.layout.xaxis2.type == "log"
    assert fig.layout.xaxis2.ticktext == ("32", "512")


def test_strength_with_missing_widths_draws_those_that_are_there():
    fig = figures.strength_along_width([32, 64, 128], {"noise": band(np.nan, 0.1, np.nan)}, None)
    np.testing.assert_array_equal(lines(fig)["random noise"].x, [64])
    assert notes(fig) == [MISSING]
    assert figures.alt_text(fig).endswith("random noise 10 % at width 64.")
    assert notes(figures.strength_along_width([32, 64], {}, None)) == [MISSING, MISSING]


def test_negative_shares_and_cosines_stay_inside_the_axes():
    fig = figures.strength_along_width([32, 64], {"noise": band(-0.2, 0)}, band(-0.3, 0.1))
    assert fig.layout.yaxis.range[0] < -0.25
    assert fig.layout.yaxis2.range[0] < -0.35


def test_many_widths_are_not_all_labelled():
    widths = 2 ** np.arange(20)
    fig = figures.strength_along_width(widths, {"noise": band(*np.zeros(20))}, None)
    assert len(fig.layout.xaxis.tickvals) <= 8
    with pytest.raises(DataError, match="above zero"):
        figures.strength_along_width([0, 1], {}, None)


# --------------------------------------------------------------------------------------------------- along the steps


def test_cosine_is_drawn_at_step_plus_one_and_reads_the_step():
    fig = figures.cosine_along_training({"width 512": ([0, 9, 99], band(0.9, 0.8, 0.7))})
    (line,) = lines(fig).values()
    np.testing.assert_array_equal(line.x, [1, 10, 100])
    np.testing.assert_array_equal(line.customdata, [0, 9, 99])
    np.testing.assert_allclose(line.y, [0.9, 0.8, 0.7], rtol=1e-6)
    assert dict(zip(fig.layout.xaxis.ticktext, fig.layout.xaxis.tickvals, strict=True))["0"] == 1
    assert fig.layout.xaxis.type == "log"


def test_width_gives_colour_and_symbol_training_gives_the_dash():
    names = ["width 4096, by SGD", "width 32", "width 32, by SGD", "width 4096"]
    drawn = lines(figures.cosine_along_training({name: ([0, 1], band(0.5, 0.5)) for name in names}))
    assert [drawn[name].line.dash for name in names] == ["dash", "solid", "dash", "solid"]
    look = {name: (drawn[name].line.color, drawn[name].marker.symbol) for name in names}
    assert look["width 32"] == look["width 32, by SGD"] == ("#00224E", "circle")
    assert look["width 4096"] == look["width 4096, by SGD"]
    assert len(set(look.values())) == 2


def test_curve_that_is_not_there_yet_is_left_out():
    curves = {"width 32": ([0, 1], band(np.nan, np.nan)), "width 64": ([0, 1], band(0.5, np.nan))}
    fig = figures.cosine_along_training(curves)
    assert set(lines(fig)) == {"width 64"}
    assert legend(fig) == ["width 64"]
    assert "1 line: width 64: 0.50 at step 0." in figures.alt_text(fig)
    assert MISSING in figures.alt_text(figures.cosine_along_training({"width 32": curves["width 32"]}))


@pytest.mark.parametrize("draw", [figures.cosine_along_training, figures.training_curves])
@pytest.mark.parametrize("steps", [[-1, 0], [0, 0.5], [1, 0]], ids=["negative", "broken", "descending"])
def test_steps_are_ascending_whole_numbers(draw, steps):
    values = band(1, 1) if draw is figures.cosine_along_training else [1.0, 1.0]
    with pytest.raises(DataError, match="whole numbers from 0 on"):
        draw({"width 32": (steps, values)})
    with pytest.raises(DataError, match="no curves"):
        draw({})


@pytest.mark.parametrize("last", [1, 7, 99, 500, 12345])
def test_step_axis_has_zero_and_no_tick_beyond_the_last_step(last):
    axis = step_axis(last)
    assert [int(text) + 1 for text in axis["ticktext"]] == axis["tickvals"]
    assert axis["ticktext"][0] == "0"
    assert axis["tickvals"][-1] <= last + 1
    assert 2 <= len(axis["tickvals"]) <= 9
    assert axis["range"][0] < 0 < np.log10(last + 1) < axis["range"][1]


def test_losses_of_one_net_share_a_legend_entry_and_keep_their_seeds_apart():
    steps = np.arange(3)
    curves = {f"width {w}, seed {s}": (steps, [1.0, 0.5, 0.1 / w]) for w in (32, 64) for s in (0, 1)}
    fig = figures.training_curves(curves)
    assert legend(fig) == ["width 32", "width 64"]
    assert set(lines(fig)) == set(curves)
    np.testing.assert_allclose(lines(fig)["width 64, seed 1"].y, [1.0, 0.5, 0.1 / 64], rtol=1e-6)
    assert fig.layout.yaxis.type == "log"
    assert fig.layout.yaxis.dtick == 1


def test_loss_without_a_place_on_a_log_axis_is_not_drawn():
    fig = figures.training_curves({"width 32": ([0, 1, 2], [1.0, np.inf, 0.0]), "width 64": ([0], [np.nan])})
    assert set(lines(fig)) == {"width 32"}
    np.testing.assert_array_equal(np.isfinite(lines(fig)["width 32"].y), [True, False, False])


def test_long_curve_has_few_markers_short_curve_all():
    long, short = ((np.arange(count), np.ones(count)) for count in (1000, 10))
    drawn = lines(figures.training_curves({"width 32": long, "width 64": short}))
    sizes = np.array(drawn["width 32"].marker.size)
    assert 5 <= np.count_nonzero(sizes) <= 9
    assert sizes[0] == sizes[-1] == drawn["width 64"].marker.size == 7


# ------------------------------------------------------------------------------------------------------------ matrix


def test_matrix_says_each_share_and_frames_what_is_missing():
    values = np.array([[0.914, 0.05], [np.nan, 0.5]])
    fig = figures.transfer_matrix(["fc", "conv"], ["fc 512", "conv 64"], values, value_name="transfer rate", dark=True)
    (trace,) = fig.data
    np.testing.assert_allclose(trace.z, values, rtol=1e-6)
    assert (trace.zmin, trace.zmax) == (0, 1)
    said = {(note.y, note.x): (note.text, note.font.color) for note in fig.layout.annotations}
    assert said == {(0, 0): ("91%", PAPER.dark), (0, 1): ("5%", PAPER.light), (1, 1): ("50%", PAPER.dark)}
    assert [(shape.x0, shape.y0) for shape in fig.layout.shapes] == [pytest.approx((-0.46, 0.56))]
    assert trace.customdata[1][0] == f"from conv<br>to fc 512<br>{MISSING}"
    assert trace.customdata[0][0] == "from fc<br>to fc 512<br>transfer rate 91.4 %"
    assert "3 of 4 cells" in figures.alt_text(fig)
    sure = figures.transfer_matrix(["fc"], ["fc 512"], [[0.9]], value_name="rate", reach=([[0.8]], [[0.95]]))
    assert sure.data[0].customdata[0][0] == "from fc<br>to fc 512<br>rate 90 % [80, 95]"


def test_matrix_names_are_safe_short_and_slanted_only_if_long():
    fig = figures.transfer_matrix(["<b>" + "a" * 40], ["fc", "conv"], [[0.1, 0.2]], value_name="rate")
    assert fig.layout.yaxis.ticktext[0].startswith("&lt;b&gt;aaa")
    assert fig.layout.yaxis.ticktext[0].endswith("…")
    assert fig.layout.xaxis.tickangle == 0
    fig = figures.transfer_matrix(["fc"], ["convolutional"], [[np.nan]], value_name="rate")
    assert fig.layout.xaxis.tickangle == -45
    assert figures.alt_text(fig) == "Rate from 1 source to 1 net, 0 of 1 cell filled."


def test_matrix_needs_names_for_all_rows_and_columns():
    with pytest.raises(DataError, match="rows has shape"):
        figures.transfer_matrix(["fc"], ["fc"], np.ones((2, 1)), value_name="rate")
    with pytest.raises(DataError, match="at least one cell"):
        figures.transfer_matrix([], [], np.ones((0, 0)), value_name="rate")


def test_few_keeps_the_first_and_the_last():
    assert few(list("abcde"), 3) == "a; c; e; and 2 more"
    assert few(["a", "b"], 3) == "a; b"
    assert few([], 3) == MISSING
