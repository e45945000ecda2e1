"""One meaning, one colour: every colour of every figure, with the words a legend says for it.

The base is the Okabe-Ito palette (M. Okabe, K. Ito, *Color Universal Design*, 2008), which stays legible
under the common colour-vision deficiencies; where a meaning needs it, a lighter twin is used on dark
backgrounds. Colour is never the only carrier: a meaning also has a marker symbol or a dash. Classes of images
have P. Tol's "muted" set (SRON/EPS/TN/09-002), so that they are not mistaken for classes of features::

    ROBUST.colour(dark=False)                    # "#0072B2"
    FEATURES[classes.BETWEEN].words              # "in between"
    class_colours(3, dark=True)                  # ["#44AA99", "#D45A93", "#DDCC77"]
"""

from dataclasses import dataclass, replace

import numpy as np
from plotly.colors import sample_colorscale, unlabel_rgb

from ntkcore.analysis.features import classes
from ntkcore.errors import SpecError


@dataclass(frozen=True)
class Meaning:
    """What a colour stands for: the legend's words, the colour on light and on dark, a symbol and a dash."""

    words: str
    light: str
    dark: str
    symbol: str = "circle"
    dash: str = "solid"

    def colour(self, dark: bool = False) -> str:
        return self.dark if dark else self.light


# Classes of eigenfeatures, by their codes; the most interesting one first. In between is between the two
# colours beside it, darker than both on light and lighter on dark, so that colour-blind eyes tell the three apart.
ROBUST = Meaning(classes.WORDS[classes.ROBUST], "#0072B2", "#2E96D6", symbol="circle")
BETWEEN = Meaning(classes.WORDS[classes.BETWEEN], "#6B6E48", "#C9D2A8", symbol="triangle-up")
BRITTLE = Meaning(classes.WORDS[classes.BRITTLE], "#E69F00", "#E69F00", symbol="diamond")
WEAK = Meaning(classes.WORDS[classes.WEAK], "#A8A8A8", "#6E6E6E", symbol="x")
FEATURES = {classes.ROBUST: ROBUST, classes.BETWEEN: BETWEEN, classes.BRITTLE: BRITTLE, classes.WEAK: WEAK}

# Attacks. FGSM and PGD on the kernel are two purples, with a dash and a symbol each.
KERNEL_FGSM = Meaning("FGSM on the kernel", "#CC79A7", "#CC79A7", symbol="circle", dash="solid")
KERNEL_PGD = Meaning("PGD on the kernel", "#8A3A6C", "#F0B6D6", symbol="diamond", dash="dash")
WHITE_BOX = Meaning("white box", "#000000", "#FFFFFF", symbol="square", dash="solid")
NOISE = Meaning("random noise", "#8C8C8C", "#A6A6A6", symbol="x", dash="dot")
ATTACKS = {"fgsm": KERNEL_FGSM, "pgd": KERNEL_PGD, "white_box": WHITE_BOX, "noise": NOISE}

# Where a perturbation of a finite net comes from. Both white boxes share one colour: dash and symbol tell them apart.
WHITE_FGSM = replace(WHITE_BOX, words="white-box FGSM")
AUTOATTACK = replace(WHITE_BOX, words="AutoAttack", symbol="star", dash="dashdot")
WHITE_PGD = replace(WHITE_BOX, words="white-box PGD", symbol="square-open", dash="9px,3px")
OTHER_SEED = Meaning("FGSM on another seed", "#80571F", "#C09A62", symbol="triangle-up", dash="dashdot")
SOURCES = {
    "white_fgsm": WHITE_FGSM,
    "white_pgd": WHITE_PGD,
    "autoattack": AUTOATTACK,
    "kernel_fgsm": KERNEL_FGSM,
    "kernel_pgd": KERNEL_PGD,
    "other_seed": OTHER_SEED,
    "noise": NOISE,
}

# Ways to train a finite net. Symbols tell their lines apart without colour: dashes are kept for what became of the net,
# dashed where it is linearised, its kernel frozen, and dotted for what stands behind (training images, epoch 0).
STANDARD_TRAINING = Meaning("standard training", "#56B4E9", "#56B4E9", symbol="circle")
FGSM_TRAINING = Meaning("FGSM training", "#D55E00", "#D55E00", symbol="square")
PGD_TRAINING = Meaning("PGD training", "#8B0000", "#D43D51", symbol="diamond")
REGIMES = {"standard": STANDARD_TRAINING, "fgsm": FGSM_TRAINING, "pgd": PGD_TRAINING}
LINEARISED, BEHIND = "dash", "dot"  # dashes of lines in a regime's colour

# What became of a test image under the attack.
RIGHT = Meaning("right, also under attack", "#009E73", "#00B887", symbol="square-open")
FLIPPED = Meaning("flipped by the attack", "#CC79A7", "#CC79A7", symbol="triangle-down")
WRONG = Meaning("wrong before any attack", "#6B6B6B", "#B5B5B5", symbol="x")
STATUS = {"right": RIGHT, "flipped": FLIPPED, "wrong": WRONG}

COLORWAY = (ROBUST, BRITTLE, WEAK, KERNEL_FGSM, STANDARD_TRAINING, FGSM_TRAINING, RIGHT)

MAX_CLASSES = 10
_CLASS_LIGHT = ("#44AA99", "#882255", "#B89A1E", "#332288", "#CC6677")
_CLASS_LIGHT += ("#117733", "#88CCEE", "#AA4499", "#8A8A2B", "#661100")
_CLASS_DARK = ("#44AA99", "#D45A93", "#DDCC77", "#8F86E8", "#EE8C9A")
_CLASS_DARK += ("#3FA75F", "#88CCEE", "#CF72C0", "#B5B54A", "#C0682B")
CLASS_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross")
CLASS_SYMBOLS += ("triangle-down", "x", "pentagon", "star", "hexagon")

# Paper and text are the app's own (.streamlit/config.toml; a test compares): on a page a figure has no visible
# edge, and yet a picture that is saved keeps a background on which its text can be read.
PAPER = Meaning("paper", "#FFFFFF", "#12161C")
TEXT = Meaning("text", "#1B2430", "#E6EAF0")
MUTED = Meaning("guide lines", "#6F7480", "#9CA1AD", dash="dot")
GRID = Meaning("grid", "rgba(49,51,63,0.12)", "rgba(237,237,240,0.14)")

SEQUENTIAL = "Cividis"  # amounts, e.g. kernel values; viridis is kept for the eigenvalue index
# Signed values: ColorBrewer RdBu reversed, legible to red-green blindness: blue < 0, near-white, red > 0. Its
# darkest ends are left out: where an attack drives every pixel to one end they are hard to tell apart.
DIVERGING = (
    "#2166AC",
    "#4393C3",
    "#92C5DE",
    "#D1E5F0",
    "#F7F7F7",
    "#FDDBC7",
    "#F4A582",
    "#D6604D",
    "#B2182B",
)


def diverging_scale() -> list[list]:
    """The signed scale in plotly's form, ``[[0, "#2166AC"], ..., [1, "#B2182B"]]``; 0.5 stands for zero."""
    return [[k / (len(DIVERGING) - 1), colour] for k, colour in enumerate(DIVERGING)]


def index_scale(dark: bool = False) -> list[list]:
    """Viridis for the eigenvalue index, without the end a background would swallow; plotly's form."""
    low, high = (0.36, 1.0) if dark else (0.0, 0.9)
    positions = np.linspace(0, 1, 12)
    colours = sample_colorscale("Viridis", (low + (high - low) * positions).tolist())
    return [[float(p), colour] for p, colour in zip(positions, colours, strict=True)]


def index_colour(position: float, dark: bool = False) -> str:
    """The colour at ``position`` of ``index_scale``: 0 is the largest eigenvalue, 1 the smallest; hexadecimal."""
    return _hexadecimal(sample_colorscale(index_scale(dark), [float(position)])[0])


def amount_colour(position: float, dark: bool = False) -> str:
    """A line's colour on the sequential scale, e.g. by width: 0 is the smallest, 1 the largest; hexadecimal.

    The end of the scale that a background would swallow is left out.
    """
    low, high = (0.44, 1.0) if dark else (0.0, 0.76)
    return _hexadecimal(sample_colorscale(SEQUENTIAL, [low + (high - low) * float(position)])[0])


def _hexadecimal(rgb: str) -> str:
    return "#" + "".join(f"{round(channel):02X}" for channel in unlabel_rgb(rgb))


def epoch_scale(dark: bool = False) -> list[list]:
    """The sequential scale for dots by epoch, without the end a background would swallow; plotly's form."""
    return [[float(p), amount_colour(p, dark)] for p in np.linspace(0, 1, 12)]


def class_colours(count: int, dark: bool = False) -> list[str]:
    """Colours of ``count`` classes of images, in the order of the task's class list.

    Raises SpecError above 10 classes: no palette keeps more of them apart.
    """
    if not 0 <= count <= MAX_CLASSES:
        raise SpecError(f"Got {count} classes; at most {MAX_CLASSES} are told apart. Choose fewer.")
    return list((_CLASS_DARK if dark else _CLASS_LIGHT)[:count])


def faint(colour: str, opacity: float = 0.16) -> str:
    """A hexadecimal colour made translucent, for bands."""
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
