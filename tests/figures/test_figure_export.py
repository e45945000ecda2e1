"""Exports: pages that stand alone, one plotly.js, text that is escaped, tables that hold what is drawn."""

import io

import numpy as np
import pandas as pd
import pytest

from ntkcore import figures
from ntkcore.errors import DataError
from ntkcore.figures.drawing.palette import PAPER
from ntkcore.figures.export import columns_csv

HOSTILE = "</script><script>alert(1)</script>"


def test_page_stands_alone_and_describes_its_figure(draw):
    fig = draw("eigenvalues")
    page = figures.to_html(fig, "My spectrum")
    assert page.count("plotly.js v") == 1
    assert "<script src=" not in page
    assert "<title>My spectrum</title>" in page
    assert f"<figcaption>{figures.alt_text(fig)}</figcaption>" in page
    assert 'aria-label="200 eigenvalues' in page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_has_the_background_of_its_figure(draw, dark):
    page = figures.to_html(draw("cumulative", dark), "x", plotlyjs=False)
    assert f"background:{PAPER.colour(dark)}" in page


def test_page_of_a_picture_is_not_wider_than_the_picture(draw):
    fig = draw("strip")
    assert f"max-width:{fig.layout.width}px" in figures.to_html(fig, "x", plotlyjs=False)
    assert fig.layout.width, "the figure itself is left as it was"


def test_titles_and_class_names_cannot_leave_their_place(results):
    fig = figures.eigenvectors(*results.vectors.T, results.labels, [HOSTILE, "b"], i=0, j=1)
    page = figures.to_html(fig, HOSTILE, plotlyjs=False)
    assert "<script>alert" not in page
    assert "<script" not in fig.data[0].name


def test_folder_shares_one_plotly(draw):
    files = figures.directory_files({"A & B": draw("cumulative"), "C": draw("strip")})
    assert set(files) == {"plotly.min.js", "index.html", "a-b.html", "c.html"}
    assert len(files["plotly.min.js"]) > 1_000_000
    for name in ("a-b.html", "c.html"):
        assert b'src="plotly.min.js"' in files[name]
        assert len(files[name]) < 1_000_000
    assert b'<a href="a-b.html">A &amp; B</a>' in files["index.html"]


@pytest.mark.parametrize("titles", [("a b", "a-b"), ("Index",)], ids=["same-file", "index"])
def test_titles_that_would_overwrite_each_other_are_refused(draw, titles):
    fig = draw("cumulative")
    with pytest.raises(DataError, match="other titles"):
        figures.directory_files(dict.fromkeys(titles, fig))


def test_table_counts_indices_from_zero_and_leaves_rings_out(results):
    table = figures.to_frame(figures.eigenvalues(results.values, results.energy, selected=3))
    assert set(table["y_axis"]) == {"eigenvalue λi", "label energy"}
    upper = table[table["y_axis"] == "eigenvalue λi"]
    np.testing.assert_array_equal(upper["x"], np.arange(200))
    np.testing.assert_array_equal(upper["index"], np.arange(200))
    np.testing.assert_allclose(upper["y"], results.values, rtol=1e-6)
    assert set(upper["x_axis"]) == {"eigenvalue index i (0 = largest)"}


def test_table_of_a_heat_map_has_a_row_for_each_pixel():
    kernel = np.arange(9.0).reshape(3, 3)
    table = figures.to_frame(figures.kernel_heatmap(kernel, np.zeros(3, int), ["a"]))
    np.testing.assert_array_equal(table["value"].to_numpy().reshape(3, 3), kernel)
    np.testing.assert_array_equal(table["x"][:3], [0.5, 1.5, 2.5])


def test_table_of_a_strip_holds_pixels_and_signed_values():
    image = np.array([[[0.0, 1.0]]])
    fig = figures.strip([figures.Picture(image, "image"), figures.Picture(image - 0.5, "change", signed=True)])
    table = figures.to_frame(fig)
    assert table[table["series"] == "image"]["red"].tolist() == [0, 255]
    assert table[table["series"] == "change"]["value"].tolist() == [-0.5, 0.5]


def test_table_of_bars_names_the_bins(draw, results):
    table = figures.to_frame(draw("perturbation-split"))
    bars = table[table["y_axis"] == "change of the prediction"]
    assert bars["x"].iloc[0] == "0"
    assert bars["y"].sum() == pytest.approx(results.contributions.sum(), abs=1e-4)


def test_every_figure_makes_a_csv_that_reads_back(figure_function, results):
    fig = figure_function[1](results, False)
    table = pd.read_csv(io.StringIO(figures.to_csv(fig)))
    assert len(table) == len(figures.to_frame(fig)) > 0
    assert table["series"].notna().all()


def test_columns_make_a_table_that_reads_back():
    columns = {"p_value": np.array([0.5, 1e-12]), "class": np.array(["weak alone", "robust"])}
    table = pd.read_csv(io.StringIO(columns_csv(columns)))
    assert list(table) == ["index", "p_value", "class"]
    assert table["index"].tolist() == [0, 1]
    for name, values in columns.items():
        assert table[name].tolist() == values.tolist()


def test_every_figure_makes_a_page(figure_function, results):
    name, build = figure_function
    page = figures.to_html(build(results, True), name, plotlyjs=False)
    assert page.startswith("<!doctype html>")
    assert f'<div id="{name}"' in page


def test_camera_button_saves_under_the_charts_name():
    options = figures.chart_config("Usefulness & robustness")["toImageButtonOptions"]
    assert options == {"format": "svg", "filename": "usefulness-robustness", "scale": 1}
    options = figures.chart_config("Usefulness & robustness", "png")["toImageButtonOptions"]
    assert options == {"format": "png", "filename": "usefulness-robustness", "scale": 3}
