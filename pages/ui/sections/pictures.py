"""Rows of labelled pictures from the pictures stage: image and features per class, and one perturbation split.

::

    strip(feature_rows({"Coat": arrays, "Shirt": others}, (0, 1, 5)), columns=4)
    strip(perturbation_row(arrays, "Coat"))
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from ntkcore.analysis.features.classes import WORDS
from ntkcore.analysis.features.pictures import GROUPS
from ntkcore.figures.drawing.strip import Picture


def feature_rows(of_class: Mapping[str, Mapping[str, Tensor]], features: Sequence[int]) -> list[Picture]:
    """For each class one row: the image, then every feature's picture."""
    rows = []
    for label, arrays in of_class.items():
        rows.append(Picture(arrays["image"].numpy(), label))
        rows += [
            Picture(picture.numpy(), f"feature {index}", signed=True)
            for index, picture in zip(features, arrays["pictures"], strict=True)
        ]
    return rows


def perturbation_row(arrays: Mapping[str, Tensor], label: str) -> list[Picture]:
    """The image, the perturbation, the adversarial image, and the loss gradient split by class of feature."""
    image, x_adv = arrays["image"].numpy(), arrays["x_adv"].numpy()
    groups = arrays["group_gradients"].numpy()
    words = [f"{WORDS[kind]} part" for kind in GROUPS]
    return [
        Picture(image, label),
        Picture(x_adv - image, "perturbation", signed=True),
        Picture(x_adv, "adversarial"),
        *(Picture(group, name, signed=True) for group, name in zip(groups, words, strict=True)),
    ]
