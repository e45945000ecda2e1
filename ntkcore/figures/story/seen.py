"""One image through its robust and its brittle features, and its noise split into what each class of features asks for.

::

    fig = features_seen(image, adversarial, features, kinds, pictures, parts, damage)
"""

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.figures.drawing.palette import FEATURES, TEXT
from ntkcore.figures.drawing.template import describe, dress
from ntkcore.figures.story.grid import add_picture, pixels
from ntkcore.readings.words import percent

PARTS = (ROBUST, BETWEEN, BRITTLE, WEAK)
COLUMNS = 5  # the image, and beside it as many features as there are parts


def features_seen(
    image: np.ndarray,
    adversarial: np.ndarray,
    features: np.ndarray,
    kinds: np.ndarray,
    pictures: np.ndarray,
    parts: np.ndarray,
    damage: np.ndarray,
    *,
    dark: bool = False,
) -> go.Figure:
    """Robust features beside the image, brittle ones beside the adversarial image, the noise and its parts below.

    Args:
        image, adversarial: ``[C, H, W]`` in [0, 1].
        features: ``[k]`` indices, kinds their classes, pictures ``[k, C, H, W]`` their signed gradients.
        parts: ``[4, C, H, W]``, the gradient that the noise follows, split over the classes in PARTS.
        damage: ``[4]``, the share of the damage that the features of each class do to all images.
    """
    fig = make_subplots(rows=3, cols=COLUMNS, horizontal_spacing=0.02, vertical_spacing=0.075)
    dress(fig, dark=dark, height=540, width=None)
    fig.update_layout(margin={"t": 34, "b": 34, "l": 4, "r": 4})
    text = {"color": TEXT.colour(dark)}
    add_picture(fig, pixels(image), 1, 1, title="the image")
    add_picture(fig, pixels(adversarial), 2, 1, title="with noise")
    rows = {1: np.flatnonzero(kinds != BRITTLE), 2: np.flatnonzero(kinds == BRITTLE)}
    for row, members in rows.items():
        for place, one in enumerate(members[: COLUMNS - 1]):
            meaning = FEATURES[int(kinds[one])]
            title = f"{meaning.words}, {features[one]}"
            frame = meaning.colour(dark)
            add_picture(fig, pixels(pictures[one], signed=True), row, place + 2, title=title, frame=frame)
    noise = adversarial - image
    add_picture(fig, pixels(noise, signed=True), 3, 1, title="the noise", below="damage:")
    for place, (kind, part) in enumerate(zip(PARTS, parts, strict=True)):
        meaning = FEATURES[kind]
        words = meaning.words if part.any() else f"{meaning.words}: none"
        look = {"title": words, "below": f"<b>{percent(float(damage[place]))}</b>"}
        add_picture(fig, pixels(part, signed=True), 3, place + 2, frame=meaning.colour(dark), **look)
    fig.update_annotations(font=text)
    for axes in (fig.update_xaxes, fig.update_yaxes):
        axes(visible=False)
    shares = ", ".join(
        f"{FEATURES[kind].words} {percent(float(share))}" for kind, share in zip(PARTS, damage, strict=True)
    )
    seen = ", ".join(f"{index} ({FEATURES[int(kind)].words})" for index, kind in zip(features, kinds, strict=True))
    return describe(
        fig,
        f"One test image through features {seen} as signed pictures, and its adversarial noise split over the classes "
        f"of features; their shares in the damage to all test images: {shares}.",
    )
