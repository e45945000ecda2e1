"""Colours: one meaning each, visible on their background, and scales that are symmetric and ordered."""

import re
import tomllib

import numpy as np
import pytest

from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.errors import SpecError
from ntkcore.figures.drawing import palette
from ntkcore.runs.specs import SOURCES

MEANINGS = {**palette.FEATURES, **palette.ATTACKS, **palette.REGIMES, **palette.STATUS, "text": palette.TEXT}
MEANINGS |= {f"from {source}": meaning for source, meaning in palette.SOURCES.items()}
THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def rgb(colour: str) -> np.ndarray:
    if colour.startswith("rgb"):
        return np.array([int(c) for c in re.findall(r"\d+", colour)][:3])
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])


def linear(colour: str) -> np.ndarray:
    """Linear RGB in [0, 1] of sRGB."""
    c = rgb(colour) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_features_have_the_colours_and_words_of_their_meaning():
    words = {code: meaning.words for code, meaning in palette.FEATURES.items()}
    assert words == {ROBUST: "robust", BETWEEN: "in between", BRITTLE: "brittle", WEAK: "weak alone"}
    assert palette.ROBUST.light == "#0072B2"
    assert palette.BRITTLE.light == "#E69F00"
    for dark in (False, True):
        grey = rgb(palette.WEAK.colour(dark))
        assert grey.max() == grey.min()


# What a dichromat sees of linear RGB (Machado, Oliveira, Fernandes 2009, severity 1).
EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eyes: str) -> np.ndarray:
    """CIELAB of a colour as such eyes see it."""
    xyz = XYZ @ np.clip(np.array(EYES[eyes]) @ linear(colour), 0, 1) / XYZ.sum(1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@THEMES
@pytest.mark.parametrize("eyes", EYES)
def test_classes_of_features_are_told_apart_by_colour_blind_eyes(eyes, dark):
    """A difference of 2 is just noticeable; dots of a few pixels need about ten times that."""
    lab = [seen(meaning.colour(dark), eyes) for meaning in palette.FEATURES.values()]
    assert min(np.linalg.norm(a - b) for k, a in enumerate(lab) for b in lab[:k]) > 22


@THEMES
def test_in_between_lies_between_robust_and_brittle(dark):
    robust, between, brittle = (
        seen(palette.FEATURES[code].colour(dark), "normal") for code in (ROBUST, BETWEEN, BRITTLE)
    )
    along = (between - robust) @ (brittle - robust) / np.sum((brittle - robust) ** 2)
    assert 0.3 < along < 0.7


def test_white_box_is_black_on_light_and_white_on_dark():
    assert palette.WHITE_BOX.colour(dark=False) == "#000000"
    assert palette.WHITE_BOX.colour(dark=True) == "#FFFFFF"


@THEMES
@pytest.mark.parametrize("group", ["FEATURES", "ATTACKS", "REGIMES", "STATUS"])
def test_meanings_of_a_group_differ_in_colour_and_in_form(group, dark):
    meanings = list(getattr(palette, group).values())
    assert len({meaning.colour(dark) for meaning in meanings}) == len(meanings)
    assert len({(meaning.symbol, meaning.dash) for meaning in meanings}) == len(meanings)


@THEMES
def test_sources_differ_in_form_and_only_the_white_boxes_share_a_colour(dark):
    sources = palette.SOURCES
    assert list(sources) == list(SOURCES)  # the order of the story's
    white = ("white_fgsm", "white_pgd", "autoattack")
    assert {sources[name].colour(dark) for name in white} == {palette.WHITE_BOX.colour(dark)}
    assert len({meaning.colour(dark) for meaning in sources.values()}) == len(sources) - 2
    assert len({meaning.symbol for meaning in sources.values()}) == len(sources)
    assert len({meaning.words for meaning in sources.values()}) == len(sources)


@THEMES
def test_colour_of_another_seed_has_no_other_meaning(dark):
    colour = palette.OTHER_SEED.colour(dark)
    others = [meaning for meaning in MEANINGS.values() if meaning is not palette.OTHER_SEED]
    taken = [meaning.colour(dark) for meaning in others] + palette.class_colours(10, dark)
    assert min(np.abs(rgb(colour) - rgb(other)).sum() for other in taken) > 60


@THEMES
@pytest.mark.parametrize("meaning", MEANINGS.values(), ids=[m.words for m in MEANINGS.values()])
def test_meaning_is_visible_on_its_paper(meaning, dark):
    assert contrast(meaning.colour(dark), palette.PAPER.colour(dark)) > 2.1


@THEMES
def test_guide_text_is_readable(dark):
    assert contrast(palette.MUTED.colour(dark), palette.PAPER.colour(dark)) > 4.5


def test_paper_and_text_are_those_of_the_apps_theme(root):
    theme = tomllib.loads((root / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    for name, dark in (("light", False), ("dark", True)):
        assert theme[name]["backgroundColor"] == palette.PAPER.colour(dark)
        assert theme[name]["textColor"] == palette.TEXT.colour(dark)


@THEMES
def test_ten_class_colours_differ_from_each_other_and_from_feature_colours(dark):
    colours = palette.class_colours(10, dark)
    distances = [np.abs(rgb(a) - rgb(b)).sum() for k, a in enumerate(colours) for b in colours[:k]]
    assert min(distances) > 60
    taken = {meaning.colour(dark) for meaning in palette.FEATURES.values()}
    assert not taken & set(colours)
    assert all(contrast(colour, palette.PAPER.colour(dark)) > 1.7 for colour in colours)
    assert len(set(palette.CLASS_SYMBOLS)) == 10


def test_eleven_classes_are_refused_in_words():
    with pytest.raises(SpecError, match=r"11 classes.*at most 10"):
        palette.class_colours(11)


def test_diverging_scale_is_neutral_in_the_middle_and_balanced_to_both_sides():
    positions, colours = zip(*palette.diverging_scale(), strict=True)
    np.testing.assert_allclose(np.add(positions, positions[::-1]), 1)
    middle = rgb(colours[len(colours) // 2])
    assert positions[len(colours) // 2] == 0.5
    assert middle.max() - middle.min() <= 2
    for low, high in zip(colours[: len(colours) // 2], colours[::-1], strict=False):
        assert rgb(low)[2] > rgb(low)[0], "negative is blue"
        assert rgb(high)[0] > rgb(high)[2], "positive is red"
        assert abs(luminance(low) - luminance(high)) < 0.12


@THEMES
def test_index_scale_grows_lighter_and_stays_visible(dark):
    positions, colours = zip(*palette.index_scale(dark), strict=True)
    assert (positions[0], positions[-1]) == (0.0, 1.0)
    assert (np.diff([luminance(colour) for colour in colours]) > 0).all()
    assert min(contrast(colour, palette.PAPER.colour(dark)) for colour in colours) > 1.4
    np.testing.assert_array_equal(rgb(palette.index_colour(0.0, dark)), rgb(colours[0]))


@THEMES
def test_amounts_grow_lighter_and_stay_visible(dark):
    colours = [palette.amount_colour(position, dark) for position in np.linspace(0, 1, 7)]
    assert (np.diff([luminance(colour) for colour in colours]) > 0).all()
    assert min(contrast(colour, palette.PAPER.colour(dark)) for colour in colours) > 2.1
    assert palette.amount_colour(0.0, dark=False) == "#00224E"  # cividis


def test_faint_keeps_the_colour():
    assert palette.faint("#0072B2", 0.5) == "rgba(0,114,178,0.5)"
