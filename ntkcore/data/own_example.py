"""Six lines of Python that make a valid .npz of one's own images, and the file that they make.

::

    print(EXAMPLE)                          # to be changed: images and labels of one's own
    import_npz(example_npz())               # the same file, in memory
"""

import io

EXAMPLE = """\
import numpy as np
y = np.arange(300) % 2                                 # a whole number for each image: its class
x = np.random.default_rng(0).random((300, 8, 8)) ** 2  # images: n x height x width (x 3), from 0 to 1
x[y == 1, :4] **= 0.5                                  # here, those of class 1 are brighter above
arrays = dict(x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
np.savez_compressed("images.npz", classes=np.array(["dark", "bright"]), **arrays)
"""


def example_npz() -> bytes:
    """The content of the file that EXAMPLE makes."""
    file = io.BytesIO()
    exec(EXAMPLE.replace('"images.npz"', "file"), {"file": file})
    return file.getvalue()
