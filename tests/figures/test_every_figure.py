"""What holds for every figure: a description with its own numbers, small size, named axes, words, both themes."""

import json
import re

import numpy as np
import pytest

from ntkcore import figures
from ntkcore.figures.drawing.palette import PAPER, TEXT
from ntkcore.figures.drawing.template import DECORATION, INDEX_TITLE, index_axis, index_ticks, plain, short


def test_describes_itself_in_one_sentence_with_numbers(figure_function, results):
    alt = figures.alt_text(figure_function[1](results, False))
    assert re.search(r"\d", alt)
    assert alt.endswith(".")
    assert "\n" not in alt
    assert 30 < len(alt) < 400


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("eigenvalues", ("200 eigenvalues", "from 500 down to 0.51")),
        ("cumulative", ("200 eigenvalues", "effective rank is 7.5")),
        ("learned-modes", ("t = 2", "200 modes")),
        ("contact-sheet", ("40 test images",)),
        (
            "margin-along-eps",
            ("+1 at the start", "6.38/255", "5.1/255", "does not flip it up to ε = 16/255"),
        ),
        ("kept-subsets", ("0.90 clean", "0.40 under attack")),
        ("along-time", ("0.90", "0.40", "t = 0.1")),
        ("feature-bands", ("9 bands", "the band 0 is", "60% (57% to 63%) clean", "55%", "128–199", "0% to 6%")),
        ("usefulness-over-null", ("200 features", "100 permutations")),
        ("alignment", ("3 architectures", "0.610 (FC(1) and Myrtle(10))", "0.930 (FC(1) and Conv(2))")),
        ("overlap-along-k", ("3 pairs", "at k = 19", "79.0% (FC(1) and Conv(2))", "at random give 9.5%")),
        ("vector-overlap", ("40 leading eigenvectors", "Conv(2) (columns)")),
        (
            "matched-features",
            ("100 matched features", "overlap of eigenvectors 0.64", "−0.08 where eigenvectors agree"),
        ),
        ("accuracy-along-eps", ("2 of 3 panels", "width 512 at ε = 8/255", "FGSM on the kernel 55 %")),
        ("strength-along-width", ("3 widths", "FGSM on the kernel 60 % at width 32, 95 % at width 4096", "0.40")),
        ("cosine-along-training", ("4 lines", "width 512, by SGD: 0.95 at step 0, 0.60 at step 1000")),
        ("training-curves", ("4 lines", "width 32, seed 0: 1 at step 0, 0.002 at step 199")),
        ("transfer-matrix", ("5 of 6 cells", "highest 90 %, from fc, depth 1 to fc, depth 1", "lowest 30 %")),
        (
            "accuracy-along-epochs",
            ("epoch 200", "3 panels", "standard training clean accuracy 10.0% at epoch 0, 80.0%"),
        ),
        ("frozen-accuracy", ("4 epochs", "PGD training 10.0% at epoch 0, 40.0% at epoch 20, 45.0% if never frozen")),
        ("kernel-distances", ("201 epochs", "PGD training 0 at epoch 0, 0.079 at epoch 200")),
        (
            "kernel-velocity",
            ("FGSM training 0.1 at epoch 0, 0.0001 at epoch 199", "PGD training lazy from epoch 20 (median seed)"),
        ),
        (
            "lazy-by-threshold",
            ("standard training never at 1%, epoch 41 at 50%", "PGD training never at 1%, epoch 5 at 50%"),
        ),
        ("polar-paths", ("to 200", "whole kernel, standard training angle 0 at epoch 0, 69 at epoch 200")),
        (
            "concentration",
            (
                "top 20",
                "PGD training rank 60.0 at epoch 0, 12.0",
                "standard training share 60.0%",
                "lowest to highest seed",
            ),
        ),
        ("alignment-along-epochs", ("PGD training class specialisation 1.00 at epoch 0, 1.40 at epoch 200",)),
        ("spectra-at-epoch", ("epoch 20", "PGD training from 5e+03 down to 5.1")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_alt_text_holds_the_figures_own_numbers(name, numbers, draw):
    alt = figures.alt_text(draw(name))
    missing = [number for number in numbers if number not in alt]
    assert not missing, alt


def test_json_stays_below_two_megabytes_at_full_size(figure_function, large_results):
    name, build = figure_function
    limit = 2_000_000 if name == "contact-sheet" else 1_000_000
    assert len(build(large_results, False).to_json()) < limit


def test_arrays_travel_as_single_precision(figure_function, large_results):
    for trace in figure_function[1](large_results, False).data:
        for key in ("x", "y", "z"):
            values = getattr(trace, key, None)
            if isinstance(values, np.ndarray) and values.size > 50:
                assert values.dtype.itemsize <= 4, f"{trace.name}.{key} is {values.dtype}"


def test_every_axis_has_a_title_in_words(figure_function, results):
    name, build = figure_function
    if name in ("contact-sheet", "strip"):
        pytest.skip("pictures have no axes to name")
    fig = build(results, False)
    axes = [axis for axis in fig.select_yaxes() if axis.showticklabels is not False]  # panels share the left one
    axes += list(fig.select_xaxes())[-1:]  # stacked panels share the lowest x axis
    untitled = [axis.plotly_name for axis in axes if not axis.title.text and name != "kernel-heatmap"]
    assert not untitled
    assert all(len(re.sub("<.*?>", "", axis.title.text or "")) < 45 for axis in axes), "too long at 400 px"


def test_hover_texts_and_legend_entries_are_words(figure_function, results):
    for trace in figure_function[1](results, False).data:
        if trace.meta != DECORATION and trace.hoverinfo != "skip":
            assert trace.hovertemplate, f"{trace.name} has plotly's own hover text"
            assert trace.name, "an entry of the legend would read 'trace 0'"


def test_legend_lies_across_and_never_over_the_plot(figure_function, results):
    fig = figure_function[1](results, False)
    legend = fig.layout.template.layout.legend.to_plotly_json() | fig.layout.legend.to_plotly_json()
    assert legend["orientation"] == "h"
    assert legend["yref"] == "container"
    assert (legend["y"], legend["yanchor"]) in ((0.0, "bottom"), (1.0, "top"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_is_dressed_for_its_background(figure_function, results, dark):
    layout = figure_function[1](results, dark).layout
    assert layout.template.layout.paper_bgcolor == PAPER.colour(dark)
    assert layout.template.layout.font.color == TEXT.colour(dark)
    assert layout.meta["dark"] is dark


def test_light_text_colour_is_not_left_in_the_dark_figure(figure_function, results):
    assert TEXT.light not in json.dumps(json.loads(figure_function[1](results, True).to_json()))


def test_same_arguments_give_the_same_figure(figure_function, results):
    build = figure_function[1]
    assert build(results, False).to_json() == build(results, False).to_json()


def test_index_axis_puts_index_i_at_i_plus_one():
    positions, texts = index_ticks(2000)
    assert [p - 1 for p in positions] == [int(text) for text in texts]
    assert texts == ["0", "1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"]
    axis = index_axis(2000)
    assert axis["title"]["text"] == INDEX_TITLE
    low, high = (10**edge for edge in axis["range"])
    assert low < 1 < 2000 < high


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11], ids=lambda c: f"{c}-eigenvalues")
def test_index_ticks_stay_within_the_axis(count):
    positions, _ = index_ticks(count)
    assert positions[0] == 1
    assert max(positions) <= max(count, 2)


def test_words_from_outside_lose_markup_templates_and_length():
    assert plain("<b>x</b> & %{y}\nz") == "&lt;b&gt;x&lt;/b&gt; &amp; % {y} z"
    assert short("a" * 50) == "a" * 21 + "…"
    assert short("aquarium fish") == "aquarium fish"
