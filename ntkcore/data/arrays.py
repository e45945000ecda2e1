"""A whole data set as it was read, before anything is chosen from it: plain arrays, one form for all sources.

::

    arrays = Arrays(x_train, labels_train, x_test, labels_test, classes=("cat", "dog"))
    arrays.x_train        # [N, C, H, W] uint8 (0 to 255) or float32 (0 to 1)
    arrays.labels_train   # [N] int64: positions in ``classes``
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Arrays:
    """Images [N, C, H, W], uint8 or float32 in [0, 1], labels [N] int64, and the names of the classes."""

    x_train: np.ndarray
    labels_train: np.ndarray
    x_test: np.ndarray
    labels_test: np.ndarray
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.x_train.shape[1:]

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        return tuple(np.bincount(self.labels_train, minlength=len(self.classes)).tolist())

    @property
    def test_counts(self) -> tuple[int, ...]:
        """Test images of each class."""
        return tuple(np.bincount(self.labels_test, minlength=len(self.classes)).tolist())

    def frozen(self) -> Self:
        """Itself, with arrays that refuse to be written to: what is kept in memory is shared by all readers."""
        for array in (self.x_train, self.labels_train, self.x_test, self.labels_test):
            array.flags.writeable = False
        return self
