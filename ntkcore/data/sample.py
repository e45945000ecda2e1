"""The bundled sample of real Fashion-MNIST: the first 600 training images of each of its ten classes, all test images.

Made by ``ntkcore.data.make_sample``; the images are Zalando's, see FASHION-MNIST-LICENSE beside this file. Within
the sample the images keep the order of the full set, where the classes come mixed::

    sample_arrays().x_train          # [6000, 1, 28, 28] uint8
    sample_positions()[0]            # [6000]: positions of these images in the full training set
"""

from functools import cache
from pathlib import Path

import numpy as np

from ntkcore.data.arrays import Arrays
from ntkcore.data.sources import SOURCES
from ntkcore.errors import DataError

SAMPLE = Path(__file__).with_name("fashion_mnist_sample.npz")


@cache
def sample_arrays() -> Arrays:
    """Images and labels of the sample. Raises DataError when the file does not come out whole."""
    stored = _stored()
    return Arrays(
        stored["x_train"][:, None],
        stored["y_train"].astype(np.int64),
        stored["x_test"][:, None],
        stored["y_test"].astype(np.int64),
        SOURCES["fashion-mnist-sample"].classes,
    ).frozen()


def sample_positions() -> tuple[np.ndarray, np.ndarray]:
    """Positions of the sample's images in the full training set [6000] and test set [10000]; both ascending."""
    stored = _stored()
    return stored["i_train"].astype(np.int64), stored["i_test"].astype(np.int64)


def _stored() -> dict[str, np.ndarray]:
    try:
        with open(SAMPLE, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy each have their own kinds
        raise DataError(
            f"The bundled sample {SAMPLE} cannot be read ({error}). Restore that file from the repository."
        ) from error
