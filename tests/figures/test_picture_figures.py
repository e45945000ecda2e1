"""Pictures: exact pixels, symmetric signed scales, thumbnails whose targets lie on their image."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from ntkcore import figures
from ntkcore.errors import DataError
from ntkcore.figures.drawing.images import signed_plane
from ntkcore.figures.drawing.palette import DIVERGING, STATUS, TEXT
from ntkcore.figures.drawing.template import DECORATION


def decode(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


# --------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
def test_to_rgb_returns_the_bytes_an_image_was_made_from(channels):
    levels = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    picture = figures.to_rgb(levels / 255)
    assert picture.shape == (5, 7, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.broadcast_to(levels.transpose(1, 2, 0), (5, 7, 3)))


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.full((1, 2, 2), 1.5), r"pixels in \[0, 1\]"),
        (np.full((1, 2, 2), -0.1), "signed_rgb"),
        (np.full((1, 2, 2), np.nan), "not finite"),
        (np.zeros((2, 4, 4)), "1 or 3 channels"),
        (np.zeros((4, 4)), r"\[C, H, W\]"),
    ],
    ids=["too-bright", "negative", "nan", "two-channels", "no-channel"],
)
def test_images_that_are_none_are_refused_in_words(image, sentence):
    with pytest.raises(DataError, match=sentence):
        figures.to_rgb(image)


def test_rounding_just_outside_the_range_is_forgiven():
    assert figures.to_rgb(np.array([[[-1e-7, 1 + 1e-7]]])).ravel().tolist() == [0, 0, 0, 255, 255, 255]


def test_signed_scale_is_symmetric_about_zero():
    image = np.array([[[-2.0, -1.0, 0.0, 1.0, 2.0]]])
    picture = figures.signed_rgb(image)[0]
    stops = [tuple(int(c[k : k + 2], 16) for k in (1, 3, 5)) for c in DIVERGING]
    assert [tuple(p) for p in picture.tolist()] == [stops[k] for k in (0, 2, 4, 6, 8)]
    np.testing.assert_array_equal(figures.signed_rgb(-image)[0], picture[::-1])


def test_signed_scale_stays_symmetric_for_one_sided_images():
    image = np.array([[[0.0, 3.0]]])
    assert tuple(figures.signed_rgb(image)[0, 0]) == tuple(figures.signed_rgb(np.zeros((1, 1, 1)))[0, 0])


def test_a_given_scale_clips_and_is_shared():
    images = [np.full((1, 1, 1), 1.0), np.full((1, 1, 1), -4.0)]
    assert figures.symmetric_scale(images) == 4.0
    full = figures.signed_rgb(np.full((1, 1, 1), 9.0), scale=4.0)
    np.testing.assert_array_equal(full, figures.signed_rgb(np.full((1, 1, 1), 4.0), scale=4.0))
    assert figures.symmetric_scale([np.zeros((1, 2, 2))]) == 1.0
    with pytest.raises(DataError, match="above zero"):
        figures.signed_rgb(images[0], scale=0.0)


def test_signed_colour_images_are_averaged_over_channels():
    image = np.random.default_rng(1).normal(size=(3, 4, 4))
    np.testing.assert_allclose(signed_plane(image), image.mean(axis=0))


def test_amplify_puts_zero_at_half_and_clips():
    delta = np.array([-1.0, -0.01, 0.0, 0.02, 1.0])
    np.testing.assert_allclose(figures.amplify(delta, 10), [0.0, 0.4, 0.5, 0.7, 1.0])


@pytest.mark.parametrize("scale", [1, 3, 8], ids=lambda s: f"x{s}")
def test_enlarged_png_repeats_each_pixel_exactly(scale):
    picture = np.random.default_rng(2).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        decode(figures.png(picture, scale)), np.kron(picture, np.ones((scale, scale, 1), np.uint8))
    )


def test_png_refuses_what_is_not_a_picture():
    with pytest.raises(DataError, match="uint8"):
        figures.png(np.zeros((2, 2, 3)))


def test_montage_places_images_and_leaves_gaps_transparent():
    images = np.random.default_rng(3).integers(0, 256, (5, 1, 4, 6)) / 255
    sheet = figures.montage(images, columns=3, gap=2)
    assert sheet.shape == (2 + 2 * 6, 2 + 3 * 8, 4)
    np.testing.assert_array_equal(sheet[8:12, 10:16, :3], figures.to_rgb(images[4]))
    assert sheet[..., 3].sum() == 255 * 5 * 4 * 6


# ---------------------------------------------------------------------------------------------------------- strip


def test_strip_draws_images_and_signed_images_side_by_side():
    rng = np.random.default_rng(4)
    image, delta = rng.uniform(size=(3, 8, 8)), rng.normal(size=(3, 8, 8))
    fig = figures.strip([figures.Picture(image, "image"), figures.Picture(delta, "change", signed=True)])
    picture, signed = fig.data
    np.testing.assert_array_equal(picture.z, figures.to_rgb(image))
    np.testing.assert_allclose(signed.z, delta.mean(axis=0), rtol=1e-5)
    assert signed.zmax == -signed.zmin == pytest.approx(np.abs(delta.mean(axis=0)).max())
    assert [axis.title.text for axis in fig.select_xaxes()] == ["image", "change"]
    assert all(axis.range[0] > axis.range[1] for axis in fig.select_yaxes()), "row 0 is at the top"
    assert {axis.scaleanchor for axis in fig.select_yaxes()} == {"x", "x2"}, "pixels are square"


def test_strip_shares_a_scale_and_shows_one_colour_bar():
    pictures = [figures.Picture(np.full((1, 2, 2), v), f"{v}", signed=True, scale=5.0) for v in (1.0, 2.0)]
    fig = figures.strip(pictures, colorbar=True)
    assert {(trace.zmin, trace.zmax) for trace in fig.data} == {(-5.0, 5.0)}
    assert [trace.showscale for trace in fig.data] == [True, False]
    assert "−5 (blue) to +5 (red)" in figures.alt_text(fig)


def test_strip_breaks_into_rows():
    pictures = [figures.Picture(np.zeros((1, 2, 2)), f"{k}") for k in range(5)]
    wide, tall = figures.strip(pictures), figures.strip(pictures, columns=2)
    assert tall.layout.width < wide.layout.width
    assert tall.layout.height > 2 * wide.layout.height
    assert tall.layout.xaxis5.domain[0] == tall.layout.xaxis.domain[0], "the fifth begins the third row"


def test_strip_titles_break_lines_but_carry_no_other_markup():
    fig = figures.strip([figures.Picture(np.zeros((1, 2, 2)), "feature 1<br><b>%{x}</b>")])
    assert fig.layout.xaxis.title.text == "feature 1<br>&lt;b&gt;% {x}&lt;/b&gt;"
    assert "%{x}</b>" not in fig.data[0].hovertemplate


def test_strip_needs_a_picture():
    with pytest.raises(DataError, match="at least one"):
        figures.strip([])


# ---------------------------------------------------------------------------------------------------- the margin


@pytest.mark.parametrize(
    ("margin", "flip"),
    [
        ([1.0, 0.5, -0.5, -1.0], 0.15),
        ([1.0, 0.0, -1.0, -1.0], 0.1),
        ([-0.1, -0.2, -0.3, -0.4], 0.0),
        ([1.0, 0.9, 0.8, 0.7], None),
        ([1.0, -1.0, 1.0, -1.0], 0.05),
    ],
    ids=["between", "exactly-zero", "wrong-from-the-start", "never", "first-of-several"],
)
def test_first_flip_is_the_first_zero(margin, flip):
    found = figures.first_flip(np.array([0.0, 0.1, 0.2, 0.3]), np.array(margin))
    assert found == (None if flip is None else pytest.approx(flip))


def test_margin_lines_carry_their_data_and_flip_marks():
    eps = np.array([0.0, 8.0, 16.0]) / 255
    margins = {"fgsm": np.array([1.0, -1.0, -3.0]), "noise": np.array([1.0, 0.9, 0.8])}
    fig = figures.margin_along_eps(eps, margins, eps_mark=8 / 255)
    lines = {trace.name: trace for trace in fig.data if trace.meta != DECORATION}
    np.testing.assert_allclose(lines["FGSM on the kernel"].x, [0, 8, 16], atol=1e-5)
    np.testing.assert_allclose(lines["FGSM on the kernel"].y, margins["fgsm"], rtol=1e-6)
    assert lines["flip by FGSM on the kernel"].x[0] == pytest.approx(4.0)
    assert lines["random noise"].line.dash == "dot"
    assert "flip by random noise" not in lines
    assert 8.0 in {shape.x0 for shape in fig.layout.shapes}
    told = figures.margin_along_eps(eps, margins, {"fgsm": 3.2149 / 255, "noise": np.inf})
    (mark,) = (trace for trace in told.data if (trace.name or "").startswith("flip by"))
    assert mark.x[0] == pytest.approx(3.2149)
    assert "flips it at ε = 3.21/255; random noise does not flip it up to ε = 16/255" in figures.alt_text(told)


def test_l2_radii_are_not_counted_in_grey_levels():
    fig = figures.margin_along_eps(np.array([0.0, 2.0]), {"pgd": np.array([1.0, -1.0])}, norm="l2")
    assert fig.data[0].x[-1] == 2.0
    assert "ℓ2" in fig.layout.xaxis.title.text
    assert "ε = 1." in figures.alt_text(fig)


def test_margins_of_unknown_attacks_are_refused():
    with pytest.raises(DataError, match="fgsm, pgd, white_box, noise"):
        figures.margin_along_eps([0.0], {"deepfool": [1.0]})


# ------------------------------------------------------------------------------------------------- contact sheet


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 10, 16)], ids=["grey", "colour", "oblong"])
def test_each_target_lies_in_the_middle_of_its_image(shape):
    count = 23
    levels = np.linspace(0.1, 0.9, count)
    images = np.broadcast_to(levels[:, None, None, None], (count, *shape))
    status = np.array(["right", "flipped", "wrong"])[np.arange(count) % 3]
    fig = figures.contact_sheet(images, status, [f"caption {k}" for k in range(count)], columns=6)
    sheet = decode(base64.b64decode(fig.data[0].source.split(",")[1]))
    targets = [trace for trace in fig.data if trace.customdata is not None]
    assert sorted(np.concatenate([t.customdata for t in targets]).tolist()) == list(range(count))
    for trace in targets:
        for x, y, k, text in zip(trace.x, trace.y, trace.customdata, trace.text, strict=True):
            block = sheet[round(y) - shape[1] // 2 + 1 : round(y) + shape[1] // 2 - 1,
                          round(x) - shape[2] // 2 + 1 : round(x) + shape[2] // 2 - 1]  # fmt: skip
            assert (block[..., :3] == round(levels[k] * 255)).all()
            assert (block[..., 3] == 255).all()
            assert text == f"caption {k}"
            assert trace.name == STATUS[status[k]].words


def test_frames_surround_their_image_in_the_colour_of_its_status():
    fig = figures.contact_sheet(np.zeros((2, 1, 10, 10)), ["right", "wrong"], columns=2)
    lines = [trace for trace in fig.data[1:] if trace.mode == "lines"]
    frames = {trace.legendgroup: trace for trace in lines}
    centres = {trace.legendgroup: trace for trace in fig.data[1:] if trace.customdata is not None}
    for key in ("right", "wrong"):
        assert frames[key].line.color == STATUS[key].light
        assert np.nanmin(frames[key].x) <= centres[key].x[0] - 5
        assert np.nanmax(frames[key].x) >= centres[key].x[0] + 5
        assert np.nanmax(frames[key].x) - np.nanmin(frames[key].x) < 10 + 2 * 3, "frames stay within the gaps"


def test_any_click_on_the_sheet_has_a_nearest_target():
    fig = figures.contact_sheet(np.zeros((4, 1, 8, 8)), ["right"] * 4)
    assert fig.layout.hoverdistance == -1
    others = [trace for trace in fig.data if trace.customdata is None]
    assert all(trace.hoverinfo == "skip" for trace in others), "nothing else may catch a click"


def test_selected_thumbnail_has_a_frame_in_the_text_colour():
    fig = figures.contact_sheet(np.zeros((4, 1, 8, 8)), ["right"] * 4, selected=2, dark=True)
    centre = next(trace for trace in fig.data if trace.customdata is not None)
    frame = fig.data[-1]
    assert frame.line.color == TEXT.dark
    assert np.nanmean(frame.x[:4]) == pytest.approx(centre.x[2])


def test_legend_counts_each_status():
    fig = figures.contact_sheet(np.zeros((3, 1, 8, 8)), ["right", "right", "flipped"])
    names = [trace.name for trace in fig.data if trace.meta == DECORATION and trace.name]
    assert names == ["right, also under attack: 2", "flipped by the attack: 1"]


@pytest.mark.parametrize(
    ("status", "captions", "sentence"),
    [
        (["right", "lost"], None, "'lost'"),
        (["right"], None, "one word for each"),
        (["right", "right"], ["only one"], "captions"),
    ],
    ids=["unknown", "too-few", "captions"],
)
def test_wrong_words_are_refused(status, captions, sentence):
    with pytest.raises(DataError, match=sentence):
        figures.contact_sheet(np.zeros((2, 1, 8, 8)), status, captions)


def test_a_sheet_of_three_hundred_colour_images_stays_small():
    images = np.random.default_rng(6).uniform(size=(300, 3, 32, 32))
    fig = figures.contact_sheet(images, ["right"] * 300)
    assert isinstance(fig.data[0], go.Image)
    assert len(fig.to_json()) < 2_000_000
