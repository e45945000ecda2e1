"""One image under a growing attack, and the accuracy over all test images beside it: a slider moves both at once.

Every radius is a frame: the perturbation and the perturbed image as pictures, what the kernel says of it, and a dot on
the curve. All are sent together (17 frames of a 28x28 image: about 60 KB)::

    fig = attack_along_eps(image, images, eps, says, accuracy, at=7, chance=0.5, attack="FGSM")
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.attacks.balls import BALLS, Norm, in_pixels
from ntkcore.analysis.intervals import Band
from ntkcore.figures.attacks.along_radius import add_frames, moving_dot, pictures_over_curve
from ntkcore.figures.drawing.bands import add_band, known_band
from ntkcore.figures.drawing.images import symmetric_scale
from ntkcore.figures.drawing.palette import KERNEL_FGSM, Meaning
from ntkcore.figures.drawing.template import add_chance, describe, plain

PANELS = ("image", "+ noise", "= their sum")


def attack_along_eps(
    image: np.ndarray,
    images: np.ndarray,
    eps: np.ndarray,
    says: Sequence[str],
    accuracy: Band,
    *,
    at: int,
    chance: float | None = None,
    norm: Norm = "linf",
    meaning: Meaning = KERNEL_FGSM,
    dark: bool = False,
) -> go.Figure:
    """Pictures above, the curve below, a slider with a play button under them.

    Args:
        image: ``[C, H, W]`` in [0, 1].
        images: ``[E, C, H, W]``, the perturbed image at each radius.
        eps: ``[E]`` radii, ascending.
        says: ``E + 1`` words: what is predicted at radius 0 and at each of ``eps``.
        accuracy: over all test images at radius 0 and at each of ``eps``, a Band of ``E + 1``.
        at: the number of the radius, 0 for none, at which it begins.
    """
    radii = np.concatenate([[0.0], np.asarray(eps, dtype=float)])
    band = known_band(accuracy, "accuracy", len(radii))
    seen = np.concatenate([image[None], images])
    fig = pictures_over_curve(height=560, dark=dark)
    hover = f"radius %{{x:.3g}} {BALLS[norm].unit_in_words}<br>%{{y:.1%}} right"
    add_band(fig, BALLS[norm].unit * radii, band, meaning, dark, hover=hover, row=2, col=1)
    add_chance(fig, chance, dark=dark, row=2, col=1)
    steps = [in_pixels(float(one), norm) for one in radii]
    titles = [
        (
            f"{PANELS[0]}<br><b>{plain(says[0])}</b>",
            f"{PANELS[1]}<br>{BALLS[norm].sign} ≤ {step}",
            f"{PANELS[2]}<br><b>{plain(say)}</b>",
        )
        for step, say in zip(steps, says, strict=True)
    ]
    dots = [moving_dot(BALLS[norm].unit * one, y, meaning, dark) for one, y in zip(radii, band.mean, strict=True)]
    add_frames(fig, image, seen, titles, dots, steps, at=at, noise=symmetric_scale(list(images - image)))
    fig.update_xaxes(title_text=f"radius of the attack ({BALLS[norm].unit_in_words})", row=2, col=1)
    fig.update_yaxes(title_text="right", range=[-0.02, 1.03], tickformat=".0%", row=2, col=1)
    before, after = f"{band.mean[0]:.0%}", f"{band.mean[at]:.0%}"
    words = f"The image is {says[0]} for the kernel, and {says[at]} with noise of {in_pixels(radii[at], norm)}; of all "
    return describe(fig, f"{words}test images {before} are right before and {after} at that radius.")
