"""Figures along the epochs of a training: the numbers at their epoch, one look a regime, and what is not there yet."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest
from reading import band, legend, lines, notes

from ntkcore import figures
from ntkcore.errors import DataError
from ntkcore.figures.drawing.bands import MISSING, marker_sizes
from ntkcore.figures.drawing.palette import REGIMES, epoch_scale
from ntkcore.figures.evolution.panels import RANGE, epoch_axis, panel_places

NAN = np.nan
EPOCHS = [0, 1, 2]
THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def at(trace: go.Scatter) -> tuple[str, list[float], list[float]]:
    """Axis, positions and rounded heights of a line."""
    return trace.yaxis, np.asarray(trace.x).tolist(), np.asarray(trace.y, dtype=float).round(6).tolist()


# ---------------------------------------------------------------------------------------- accuracy along the epochs


def test_accuracy_has_a_panel_an_attack_and_a_line_a_regime():
    curves = {
        "pgd": {"pgd": band(0.1, 0.3, 0.4), "clean": band(0.1, 0.5, 0.6)},
        "standard": {"clean": band(0.1, 0.7, 0.8)},
    }
    fig = figures.accuracy_along_epochs(EPOCHS, curves, chance=0.1)
    assert notes(fig) == ["clean accuracy", "PGD accuracy"]
    assert {name: at(line) for name, line in lines(fig).items()} == {
        "standard training, clean accuracy": ("y", [0, 1, 2], [0.1, 0.7, 0.8]),
        "PGD training, clean accuracy": ("y", [0, 1, 2], [0.1, 0.5, 0.6]),
        "PGD training, PGD accuracy": ("y2", [0, 1, 2], [0.1, 0.3, 0.4]),
    }
    assert lines(fig)["PGD training, PGD accuracy"].text[2] == "<br>lowest to highest seed 35.0% to 45.0%"
    assert legend(fig) == ["standard training", "PGD training", RANGE, "chance 10%"]
    assert [(shape.y0, shape.yref) for shape in fig.layout.shapes] == [(0.1, "y"), (0.1, "y2")]


def test_training_images_are_dotted_and_frozen_nets_dashed_from_their_epoch_on():
    curves, train = {"fgsm": {"clean": band(0.1, 0.5, 0.6)}}, {"fgsm": {"clean": band(0.1, 0.6, 0.9)}}
    frozen = {"fgsm": {1: {"clean": band(0.5, 0.55)}, 2: {"pgd": band(0.2)}}}
    fig = figures.accuracy_along_epochs(EPOCHS, curves, train=train, frozen=frozen)
    main, behind, one, two = (
        lines(fig)[f"FGSM training, {what}"]
        for what in (
            "clean accuracy",
            "training images, clean accuracy",
            "kernel frozen from epoch 1 on, clean accuracy",
            "kernel frozen from epoch 2 on, PGD accuracy",
        )
    )
    assert [line.line.dash for line in (main, behind, one, two)] == ["solid", "dot", "dash", "dash"]
    assert {line.line.color for line in (main, behind, one, two)} == {REGIMES["fgsm"].light}
    assert {trace.legendgroup for trace in (main, behind, one, two)} == {"FGSM training"}
    assert behind.line.width < main.line.width
    assert at(behind) == ("y", [0, 1, 2], [0.1, 0.6, 0.9])
    assert at(one) == ("y", [1, 2], [0.5, 0.55])
    assert at(two) == ("y2", [2], [0.2])
    assert legend(fig) == ["FGSM training", RANGE, "training images", "kernel frozen from there on"]


def test_accuracy_that_is_not_computed_yet():
    curves = {"pgd": {"clean": band(0.1, 0.5, NAN), "pgd": band(NAN, NAN, NAN)}}
    fig = figures.accuracy_along_epochs(EPOCHS, curves, chance=0.1)
    assert at(lines(fig)["PGD training, clean accuracy"]) == ("y", [0, 1], [0.1, 0.5])
    assert notes(fig).count(MISSING) == 1
    assert {shape.yref for shape in fig.layout.shapes} == {"y"}, "no guide where nothing is"
    assert tuple(fig.layout.xaxis.range) == pytest.approx((-0.06, 2.06)), "the axis reaches to the last epoch"
    empty = figures.accuracy_along_epochs(EPOCHS, {})
    assert notes(empty) == ["clean accuracy", "FGSM accuracy", "PGD accuracy", *[MISSING] * 3]
    assert legend(empty) == []
    assert MISSING in figures.alt_text(empty)


def test_frozen_lines_must_fit_their_epoch():
    with pytest.raises(DataError, match="frozen of pgd starts at epoch 5, which is not one of the epochs"):
        figures.accuracy_along_epochs(EPOCHS, {}, frozen={"pgd": {5: {"clean": band(1)}}})
    with pytest.raises(DataError, match="frozen of pgd from epoch 1 on by clean has 3 numbers; 2 are needed"):
        figures.accuracy_along_epochs(EPOCHS, {}, frozen={"pgd": {1: {"clean": band(1, 1, 1)}}})
    with pytest.raises(DataError, match=r"train of pgd is keyed by \['white_box'\]; use some of clean, fgsm, pgd"):
        figures.accuracy_along_epochs(EPOCHS, {}, train={"pgd": {"white_box": band(1, 1, 1)}})


# ------------------------------------------------------------------------------------------------- frozen accuracies


def test_frozen_accuracy_lies_at_its_epoch_beside_the_run_that_was_not_frozen():
    curves = {"pgd": {"attacked": band(0.1, 0.3, 0.4), "train": band(0.5, 0.7, 0.9)}}
    fig = figures.frozen_accuracy([0, 9, 99], curves, {"pgd": 0.45, "standard": NAN})
    attacked, train, whole = (
        lines(fig)[f"PGD training, {what}"] for what in ("under attack", "training accuracy", "never frozen")
    )
    assert at(attacked) == ("y", [1, 10, 100], [0.1, 0.3, 0.4])
    assert at(train) == ("y2", [1, 10, 100], [0.5, 0.7, 0.9])
    np.testing.assert_array_equal(attacked.customdata, [0, 9, 99])
    assert fig.layout.xaxis.type == "log"
    assert fig.layout.xaxis.ticktext == ("0", "9", "99")
    assert (attacked.line.dash, whole.line.dash) == ("dash", None), "what is linearised is dashed"
    assert list(whole.y) == [0.45, 0.45]
    assert whole.yaxis == "y"
    assert legend(fig) == ["PGD training", RANGE, "never frozen"]


def test_frozen_accuracy_of_many_epochs_labels_those_that_leave_room():
    fig = figures.frozen_accuracy(np.arange(100), {"pgd": {"clean": band(*np.full(100, 0.5))}})
    ticks = np.log10(fig.layout.xaxis.tickvals)
    assert 4 <= len(ticks) <= 7
    assert np.diff(ticks).min() > 0.3


def test_frozen_accuracy_that_is_not_there():
    fig = figures.frozen_accuracy([3], {"pgd": {"clean": band(NAN), "attacked": band(NAN)}})
    assert notes(fig) == ["clean accuracy", "under attack", MISSING, MISSING]
    assert MISSING in figures.alt_text(fig)
    assert lines(figures.frozen_accuracy([3], {}, {"fgsm": 0.3})).keys() == {"FGSM training, never frozen"}


# --------------------------------------------------------------------------------------------- the kernel's distances


def test_distances_share_one_scale_and_leave_blank_what_is_missing():
    one = np.array([[0, 0.2, 0.5], [0.2, 0, 0.3], [0.5, 0.3, 0]])
    two = np.array([[0, 0.1, NAN], [0.1, 0, NAN], [NAN, NAN, NAN]])
    fig = figures.kernel_distances([0, 2, 10], {"pgd": two, "standard": one})
    standard, pgd = fig.data
    assert (standard.name, pgd.name) == ("standard training", "PGD training")
    np.testing.assert_allclose(standard.z, one, rtol=1e-6)
    np.testing.assert_allclose(pgd.z, two, rtol=1e-6)
    for trace in (standard, pgd):
        np.testing.assert_array_equal(trace.x, [0, 2, 10])
        assert trace.coloraxis == "coloraxis"
        assert trace.hoverongaps is False
    assert (fig.layout.coloraxis.cmin, fig.layout.coloraxis.cmax) == (0, 0.5)
    assert fig.layout.coloraxis.colorbar.ticktext == ("distance 0", "0.25", "0.5")
    assert tuple(fig.layout.xaxis2.range) == (-1, 14), "whole cells"
    assert tuple(fig.layout.yaxis.range) == (14, -1), "the first epoch is at the top"
    assert "standard training 0 at epoch 0, 0.5 at epoch 10; PGD training 0 at epoch 0, 0.1 at epoch 2" in (
        figures.alt_text(fig)
    )


@pytest.mark.parametrize("matrix", [[[0.0]], [[NAN]]], ids=["known", "missing"])
def test_distances_of_a_single_epoch(matrix):
    fig = figures.kernel_distances([0], {"pgd": matrix})
    assert fig.layout.coloraxis.cmax == 1
    assert tuple(fig.layout.xaxis.range) == (-0.5, 0.5)
    assert (MISSING in notes(fig)) is (MISSING in figures.alt_text(fig)) is np.isnan(matrix).item()


@pytest.mark.parametrize(
    "matrix", [np.zeros((3, 2)), np.zeros((2, 2)), np.zeros(3), 0.0], ids=lambda m: str(np.shape(m))
)
def test_distances_need_a_row_and_a_column_for_each_epoch(matrix):
    with pytest.raises(DataError, match=r"matrix of fgsm has shape .*; \(3, 3\), a row an epoch"):
        figures.kernel_distances(EPOCHS, {"fgsm": matrix})
    with pytest.raises(DataError, match="no matrices"):
        figures.kernel_distances(EPOCHS, {})


# ---------------------------------------------------------------------------------------------- the kernel's velocity


def test_velocity_is_drawn_at_the_start_of_its_step_and_reads_both_epochs():
    fig = figures.kernel_velocity([0, 1, 5], {"pgd": band(0.1, 0.01, reach=0.005)})
    (line,) = lines(fig).values()
    assert at(line)[1:] == ([0, 1], [0.1, 0.01])
    assert list(line.customdata) == ["0 to 1", "1 to 5"]
    assert "epoch %{customdata}" in line.hovertemplate
    assert fig.layout.yaxis.type == "log"


def test_lazy_epochs_are_marked_with_words_in_lines_of_their_own():
    lazy = {"standard": None, "fgsm": 2, "pgd": 1}
    fig = figures.kernel_velocity(EPOCHS, dict.fromkeys(REGIMES, band(0.1, 0.2)), lazy=lazy, share=0.1)
    marks = {(shape.x0, shape.x1): shape.line.color for shape in fig.layout.shapes}
    assert marks == {(2, 2): REGIMES["fgsm"].light, (1, 1): REGIMES["pgd"].light}
    assert {note.x: note.text for note in fig.layout.annotations} == {
        2: "FGSM: lazy from epoch 2",
        1: "PGD: lazy from epoch 1",
    }
    assert len({note.yshift for note in fig.layout.annotations}) == 2
    assert "lazy: below 10% of its first step" in legend(fig)
    assert "PGD training lazy from epoch 1" in figures.alt_text(fig)
    assert "standard training lazy" not in figures.alt_text(fig)


def test_velocity_without_a_place_on_a_log_axis_is_not_drawn():
    moving = figures.Band(np.array([0.1, 0.05, 0.0]), np.array([0.05, 0.0, 0.0]), np.array([0.2, 0.1, 0.0]))
    fig = figures.kernel_velocity([0, 1, 2, 3], {"pgd": moving})
    assert at(lines(fig)["PGD training"])[1:] == ([0, 1], [0.1, 0.05])
    lowest = next(trace for trace in fig.data if trace.name == "PGD training, lowest")
    np.testing.assert_allclose(lowest.y, [0.05, 0.05], rtol=1e-6)


@pytest.mark.parametrize(
    ("epochs", "velocities"),
    [([0, 1], {"pgd": band(NAN)}), ([0], {"pgd": band()}), ([0, 1], {})],
    ids=["all-nan", "single-epoch", "no-regime"],
)
def test_velocity_that_is_not_there(epochs, velocities):
    fig = figures.kernel_velocity(epochs, velocities, lazy={"pgd": None}, share=0.1)
    assert notes(fig) == [MISSING]
    assert legend(fig) == []
    assert MISSING in figures.alt_text(fig)


@pytest.mark.parametrize(("epochs", "values"), [(EPOCHS, (1, 1, 1)), ([0], (1,))], ids=["three", "single"])
def test_velocities_are_one_fewer_than_the_epochs(epochs, values):
    with pytest.raises(DataError, match="velocity of pgd has"):
        figures.kernel_velocity(epochs, {"pgd": band(*values)})


def test_the_mark_of_several_seeds_is_the_median_seeds():
    fig = figures.kernel_velocity(EPOCHS, {"pgd": band(0.1, 0.2)}, lazy={"pgd": 1}, share=0.1, seeds=3)
    assert notes(fig) == ["PGD: lazy from epoch 1 (median seed)"]
    assert "lazy from epoch 1 (median seed)" in figures.alt_text(fig)


# ------------------------------------------------------------------------------------- lazy epochs by their threshold


def test_lazy_by_threshold_draws_the_median_seed_and_all_of_them():
    lazy = {"pgd": np.array([[np.inf, 4, 2], [np.inf, np.inf, 3], [6, 4, 1], [NAN, NAN, NAN]])}
    fig = figures.lazy_by_threshold([0.01, 0.1, 0.5], lazy, 10, share=0.1)
    (line,) = lines(fig).values()
    never = fig.layout.yaxis.tickvals[-1]
    assert at(line)[1] == pytest.approx([0.01, 0.1, 0.5])
    assert at(line)[2] == [round(never, 6), 4, 2]
    assert never > 10
    assert fig.layout.yaxis.ticktext[-1] == "never"
    edges = {trace.name.split(", ")[1]: at(trace)[2] for trace in fig.data if trace.name.endswith("est")}
    assert edges == {"highest": [round(never, 6)] * 2 + [3], "lowest": [6, 4, 1]}
    assert line.customdata[1] == "10%<br>epoch 4<br>lowest to highest seed epoch 4 to never"
    assert {trace.line.shape for trace in (line, *fig.data[:2])} == {"hv"}
    assert legend(fig) == ["PGD training", RANGE, "threshold 10%"]
    assert "PGD training never at 1%, epoch 2 at 50%" in figures.alt_text(fig)


def test_lazy_by_threshold_of_what_is_not_there():
    fig = figures.lazy_by_threshold([0.1, 0.5], {"pgd": np.full((2, 2), NAN)}, 10, share=0.1)
    assert notes(fig) == [MISSING]
    assert legend(fig) == []
    with pytest.raises(DataError, match=r"lazy of pgd has shape \(2,\); \(seeds, 2\) is needed"):
        figures.lazy_by_threshold([0.1, 0.5], {"pgd": np.zeros(2)}, 10)


# --------------------------------------------------------------------------------------------------- the kernel's path


def test_path_lies_at_its_radius_and_angle_coloured_by_epoch():
    radius, angle = [0.0, 0.5, 1.0], np.radians([0, 60, 90])
    fig = figures.polar_paths(
        [0, 1, 8], {"whole kernel": {"pgd": (radius, angle)}, "top 20": {"pgd": (radius, angle / 2)}}
    )
    whole, top = lines(fig)["PGD training, whole kernel"], lines(fig)["PGD training, top 20"]
    np.testing.assert_allclose(whole.x, [0, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(whole.y, [0, 0.4330127, 1], atol=1e-6)
    assert (whole.xaxis, top.xaxis) == ("x", "x2")
    np.testing.assert_array_equal(whole.marker.color, [0, 1, 8])
    assert whole.text[1] == "radius 0.5, angle 60.0°"
    assert whole.line.color == REGIMES["pgd"].light
    assert {trace.marker.coloraxis for trace in (whole, top)} == {"coloraxis"}
    assert (fig.layout.coloraxis.cmin, fig.layout.coloraxis.cmax) == (0, 8)
    assert [note for note in notes(fig) if "°" not in note] == ["whole kernel", "top 20"]
    for axis, across in ((fig.layout.yaxis, "x"), (fig.layout.yaxis2, "x2")):
        assert axis.scaleanchor == across, "a circle is round"
    assert "angle 0 at epoch 0, 90 at epoch 8" in figures.alt_text(fig)


@pytest.mark.parametrize(
    ("largest", "rings"), [(1.0, (0, 0.5, 1)), (3.0, (0, 1, 2, 3)), (40.0, (0, 20, 40)), (0.2, (0, 0.5, 1))], ids=str
)
def test_rings_are_round_numbers_that_reach_over_the_path(largest, rings):
    fig = figures.polar_paths([0, 1], {"whole kernel": {"pgd": ([0, largest], [0, 0.5])}})
    assert tuple(fig.layout.xaxis.tickvals) == pytest.approx(rings)
    assert fig.layout.xaxis.range[1] > max(largest, 1)


def test_long_path_shows_its_own_colour_between_the_dots():
    t = np.linspace(0, 1, 200)
    (line,) = lines(figures.polar_paths(np.arange(200), {"bottom": {"fgsm": (t, t)}})).values()
    sizes = np.asarray(line.marker.size)
    assert 5 <= np.count_nonzero(sizes) <= 9
    assert sizes[0] == sizes[-1] > 0
    np.testing.assert_array_equal(np.asarray(line.marker.line.width) > 0, sizes > 0)


def test_path_that_is_not_there_yet():
    some = {"pgd": ([0, 0.5, NAN], [0, 0.3, 0.4]), "standard": ([NAN] * 3, [NAN] * 3)}
    fig = figures.polar_paths(EPOCHS, {"whole kernel": some, "top 20": {}})
    assert {name: len(line.x) for name, line in lines(fig).items()} == {"PGD training, whole kernel": 2}
    assert notes(fig).count(MISSING) == 1
    assert legend(fig) == ["PGD training"]
    single = figures.polar_paths([0], {"whole kernel": {"pgd": ([0.0], [0.0])}})
    assert len(lines(single)["PGD training, whole kernel"].x) == 1
    assert MISSING in figures.alt_text(figures.polar_paths([0], {"whole kernel": {}}))


def test_paths_with_wrong_numbers_are_refused():
    with pytest.raises(DataError, match="angle of top 20, pgd has 2 numbers; 3 are needed"):
        figures.polar_paths(EPOCHS, {"top 20": {"pgd": ([0, 1, 1], [0, 1])}})
    for radius, angle in (([-1, 0, 0], [0, 0, 0]), ([0, 1, 1], [0, 30, 60])):
        with pytest.raises(DataError, match="radians"):
            figures.polar_paths(EPOCHS, {"top 20": {"pgd": (radius, angle)}})
    with pytest.raises(DataError, match="no panels"):
        figures.polar_paths(EPOCHS, {})


# ------------------------------------------------------------------------------------ concentration and alignment


def test_concentration_has_what_is_left_on_a_log_axis_then_share_then_rank():
    mass = {"pgd": {20: band(0.9, 0.99, reach=0.005), 10: band(0.8, 0.9)}}
    fig = figures.concentration([0, 1], mass, {"pgd": band(0.6, 0.7)}, {"pgd": band(60, 12, reach=1)})
    ten, twenty, share, rank = (
        lines(fig)[f"PGD training, {what}"]
        for what in (
            "1 − mass of the top 10",
            "1 − mass of the top 20",
            "share of the trace in the top 20",
            "effective rank",
        )
    )
    assert at(ten) == ("y", [0, 1], [0.2, 0.1])
    assert at(twenty) == ("y", [0, 1], [0.1, 0.01])
    assert at(share) == ("y2", [0, 1], [0.6, 0.7])
    assert at(rank) == ("y3", [0, 1], [60, 12])
    assert twenty.text[1] == "<br>lowest to highest seed 0.005 to 0.015", "the ends are swapped"
    assert (ten.line.dash, twenty.line.dash) == ("dashdot", "solid")
    assert [fig.layout[axis].type for axis in ("yaxis", "yaxis2", "yaxis3")] == ["log", None, None]
    assert legend(fig) == ["PGD training", RANGE, "k = 10", "k = 20"]


def test_mass_that_is_all_in_the_top_has_no_place_on_the_log_axis():
    fig = figures.concentration([0, 1], {"pgd": {20: band(0.9, 1.0, reach=0.05)}}, {}, {})
    assert at(lines(fig)["PGD training, 1 − mass of the top 20"])[1:] == ([0], [0.1])
    assert notes(fig) == [MISSING, MISSING]


def test_concentration_that_is_not_there():
    fig = figures.concentration([0], {"pgd": {10: band(NAN)}}, {"pgd": band(NAN)}, {})
    assert notes(fig) == [MISSING] * 3
    assert tuple(fig.layout.yaxis2.range) == (0, 1.03)
    assert MISSING in figures.alt_text(fig)


def test_concentration_refuses_what_it_cannot_tell_apart():
    with pytest.raises(DataError, match="4 different k; at most 3"):
        figures.concentration([0], {"pgd": {k: band(0.5) for k in (1, 2, 3, 4)}}, {}, {})
    with pytest.raises(DataError, match="mean of 1 - mass of pgd by 10 has 2 numbers; 1 are needed"):
        figures.concentration([0], {"pgd": {10: band(0.5, 0.5)}}, {}, {})


@pytest.mark.parametrize("special", [None, {}, {"pgd": band(1.0, 1.2, NAN)}], ids=["without", "missing", "with"])
def test_alignment_with_and_without_the_specialisation_of_classes(special):
    fig = figures.alignment_along_epochs(EPOCHS, {"pgd": band(0.1, 0.2, 0.3)}, special)
    assert at(lines(fig)["PGD training, alignment with the labels"])[1:] == ([0, 1, 2], [0.1, 0.2, 0.3])
    assert len(list(fig.select_yaxes())) == (1 if special is None else 2)
    assert notes(fig) == ([MISSING] if special == {} else [])
    if special:
        assert at(lines(fig)["PGD training, class specialisation"]) == ("y2", [0, 1], [1.0, 1.2])
        assert [(shape.y0, shape.yref) for shape in fig.layout.shapes] == [(1, "y2")]
    assert ("no specialisation" in legend(fig)) is bool(special)


# ------------------------------------------------------------------------------------------------------------ spectra


def test_spectra_are_drawn_as_they_are_with_the_first_epoch_faint_behind():
    fig = figures.spectra_at_epoch({"pgd": [5.0, 1.0, 0.0]}, 20, first={"pgd": [2.0, NAN], "fgsm": [3.0, 1.0]})
    assert list(lines(fig)) == ["FGSM training, epoch 0", "PGD training, epoch 0", "PGD training, epoch 20"]
    now, before = lines(fig)["PGD training, epoch 20"], lines(fig)["PGD training, epoch 0"]
    np.testing.assert_array_equal(now.x, [1, 2, 3])
    np.testing.assert_array_equal(now.customdata, [0, 1, 2])
    np.testing.assert_array_equal(now.y, np.array([5.0, 1.0, NAN], dtype=np.float32))
    np.testing.assert_array_equal(before.y, np.array([2.0, NAN], dtype=np.float32))
    assert (now.line.dash, before.line.dash) == (None, "dot")
    assert before.line.color.startswith("rgba(139,0,0,")
    assert (fig.layout.xaxis.type, fig.layout.yaxis.type) == ("log", "log")
    assert legend(fig) == ["FGSM training", "PGD training", "epoch 0"]
    assert figures.alt_text(fig).endswith("PGD training from 5 down to 1.")


def test_every_epoch_of_spectra_is_a_frame():
    values = {"pgd": [[3.0, 1.0], [5.0, 0.5], [7.0, 0.1]], "fgsm": [[3.0, 1.0], [4.0, 1.0], [4.0, 0.0]]}
    fig = figures.spectra_along_epochs([0, 5, 9], values, at=1)
    names = [fig.data[i].name for i in fig.frames[1].traces]
    assert names == [trace.name for trace in fig.frames[1].data] == ["FGSM training, epoch 5", "PGD training, epoch 5"]
    assert [step.label for step in fig.layout.sliders[0].steps] == ["0", "5", "9"]
    assert fig.layout.sliders[0].active == 1
    for i, frame in enumerate(fig.frames):
        np.testing.assert_array_equal(frame.data[1].y, np.array(values["pgd"][i], np.float32))
    assert 10 ** fig.layout.yaxis.range[0] < 0.1 < 7 < 10 ** fig.layout.yaxis.range[1]


@pytest.mark.parametrize("values", [{}, {"pgd": [NAN, NAN]}, {"pgd": [-1.0]}], ids=["none", "all-nan", "negative"])
def test_spectra_that_are_not_there(values):
    fig = figures.spectra_at_epoch(values, 3)
    assert notes(fig) == [MISSING]
    assert MISSING in figures.alt_text(fig)


# ---------------------------------------------------------------------------------------------- what all have in common

ALONG_EPOCHS = {
    "accuracy": lambda epochs, key: figures.accuracy_along_epochs(epochs, {key: {"clean": band(1, 1, 1)}}),
    "frozen": lambda epochs, key: figures.frozen_accuracy(epochs, {key: {"clean": band(1, 1, 1)}}),
    "distances": lambda epochs, key: figures.kernel_distances(epochs, {key: np.zeros((3, 3))}),
    "velocity": lambda epochs, key: figures.kernel_velocity(epochs, {key: band(1, 1)}),
    "polar": lambda epochs, key: figures.polar_paths(epochs, {"whole": {key: ([0, 1, 1], [0, 1, 1])}}),
    "mass": lambda epochs, key: figures.concentration(epochs, {key: {10: band(0, 0, 0)}}, {}, {}),
    "rank": lambda epochs, key: figures.concentration(epochs, {}, {}, {key: band(1, 1, 1)}),
    "alignment": lambda epochs, key: figures.alignment_along_epochs(epochs, {key: band(1, 1, 1)}),
}
EVERY = pytest.mark.parametrize("draw_it", ALONG_EPOCHS.values(), ids=ALONG_EPOCHS.keys())


@EVERY
@pytest.mark.parametrize(
    "epochs", [[-1, 0, 1], [0, 0.5, 1], [0, 2, 1], [0, NAN, 2], [[0, 1, 2]], []], ids=lambda epochs: str(epochs)
)
def test_epochs_are_ascending_whole_numbers(draw_it, epochs):
    with pytest.raises(DataError, match="epochs"):
        draw_it(epochs, "pgd")


@EVERY
def test_unknown_regimes_are_refused_in_words(draw_it):
    with pytest.raises(DataError, match=r"is keyed by \['trades'\]; use some of standard, fgsm, pgd"):
        draw_it(EPOCHS, "trades")


@pytest.mark.parametrize("name", ["accuracy", "frozen", "polar", "mass", "rank", "alignment"])
def test_values_of_another_length_are_refused(name):
    with pytest.raises(DataError, match="has 3 numbers; 2 are needed"):
        ALONG_EPOCHS[name]([0, 1], "pgd")


@THEMES
@pytest.mark.parametrize(
    "name",
    [
        "accuracy-along-epochs",
        "frozen-accuracy",
        "kernel-velocity",
        "polar-paths",
        "concentration",
        "alignment-along-epochs",
    ],
)
def test_regime_has_one_colour_and_one_symbol_in_all_its_lines(draw, name, dark):
    fig = draw(name, dark)
    for regime in REGIMES.values():
        own = [trace for trace in fig.data if trace.legendgroup == regime.words and trace.fill is None]
        own = [trace for trace in own if trace.line.width]
        assert len(own) >= 2, "a line and its entry in the legend"
        assert {trace.line.color for trace in own} == {regime.colour(dark)}
        assert {trace.marker.symbol for trace in own if "markers" in trace.mode} == {regime.symbol}


@THEMES
def test_dots_by_epoch_have_a_scale_that_keeps_off_the_background(draw, dark):
    scale = json.loads(draw("polar-paths", dark).to_json())["layout"]["coloraxis"]["colorscale"]
    assert scale == epoch_scale(dark)
    assert (scale[0][0], scale[-1][0]) == (0.0, 1.0)


@pytest.mark.parametrize("columns", [1, 2, 3], ids=lambda c: f"columns={c}")
@pytest.mark.parametrize("name", ["accuracy_along_epochs", "kernel_distances", "polar_paths"])
def test_panels_lie_in_rows_and_only_the_outer_axes_are_named(name, columns):
    given = {
        "accuracy_along_epochs": {"pgd": dict.fromkeys(("clean", "fgsm", "pgd"), band(0.1, 0.2, 0.3))},
        "kernel_distances": dict.fromkeys(REGIMES, np.zeros((3, 3))),
        "polar_paths": {part: {"pgd": ([0, 1, 1], [0, 1, 1])} for part in ("whole kernel", "top 20", "bottom")},
    }
    fig = getattr(figures, name)(EPOCHS, given[name], columns=columns)
    up, across = list(fig.select_yaxes()), list(fig.select_xaxes())
    assert len(up) == len(across) == 3
    assert len({axis.domain for axis in up}) == -(-3 // columns)
    assert [bool(axis.title.text) for axis in up] == [k % columns == 0 for k in range(3)]
    assert [bool(axis.title.text) for axis in across] == [k + columns >= 3 for k in range(3)]


def test_places_of_panels():
    assert panel_places(1, 3) == [({"row": 1, "col": 1}, True, True)]
    assert [place for place, *_ in panel_places(3, 2)] == [
        {"row": 1, "col": 1},
        {"row": 1, "col": 2},
        {"row": 2, "col": 1},
    ]


@pytest.mark.parametrize("last", [0, 1, 3, 7, 10, 60, 200, 999, 12345])
def test_epoch_ticks_are_few_whole_numbers(last):
    axis = epoch_axis(last)
    assert axis["dtick"] == int(axis["dtick"]) >= 1
    assert last / axis["dtick"] <= 5
    assert axis["range"][0] < 0 < last < axis["range"][1] or last == 0


def test_short_line_has_all_its_markers_a_long_one_some_at_both_ends():
    assert marker_sizes(np.arange(18)) == 7
    sizes = marker_sizes(np.arange(19))
    assert np.count_nonzero(sizes) == 9
    assert sizes[0] == sizes[-1] == 7


def test_tables_of_the_figures_read_epochs_and_indices(draw):
    velocity = figures.to_frame(draw("kernel-velocity")).query("series == 'PGD training'")
    assert velocity["index"].iloc[0] == "0 to 1"
    assert velocity["x"].tolist() == list(range(200))
    distances = figures.to_frame(draw("kernel-distances")).query("series == 'PGD training' and x == 200 and y == 0")
    assert distances["value"].tolist() == pytest.approx([1 - np.cos(0.4)], rel=1e-5)
    spectrum = figures.to_frame(draw("spectra-at-epoch")).query("series == 'PGD training, epoch 20'")
    assert spectrum["x"].tolist() == list(range(200)), "indices count from 0"
