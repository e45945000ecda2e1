"""Two halves of the test images: what is picked by looking at labels is picked on one and reported on the other.

::

    first = halves(task.labels_test)        # [m] bool: every second image of each class
    best = judged.curve(first).attacked.mean.argmax()
    judged.curve(~first).attacked.mean[best]
"""

import numpy as np


def halves(labels: np.ndarray) -> np.ndarray:
    """The first half of the test images, [m] bool: the first, third, fifth, ... image of each class; labels [m] int."""
    labels = np.asarray(labels)
    first = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        first[np.flatnonzero(labels == label)[::2]] = True
    return first
