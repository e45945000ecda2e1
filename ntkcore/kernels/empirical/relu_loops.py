"""Compiled loops for gradients on their way back through a ReLU, or a ReLU and the 2x2 pool behind it at once.

Images are [rows, columns, channels] in memory; those of the gradients lie [images, outputs] in a row, and an image of
the activations belongs to all outputs of it. ``y`` is what the ReLU returned, so ``y > 0`` is where it let gradients
pass. Gradients are only put in their places::

    back(g, y, outputs, (0, len(g)))                         # g in place
    back_through_pool(g, y, outputs, images, False, out)     # g: a quarter of those at an average pool
    back_through_pool(g, y, outputs, images, True, out)      # at a max pool; of equal numbers it took the first
"""

from ntkcore.kernels.loops.vectors import LANES, below, compiled, load, spread, store


@compiled
def back(g, y, outputs, images):
    """g [n outputs, H, W, C], y [n, H, W, C]: g = 0 wherever y is not positive."""
    none = y.dtype.type(0)
    zero = spread(none)
    for image in range(images[0], images[1]):
        here, passed = g[image].ravel(), y[image // outputs].ravel()
        whole = len(here) // LANES * LANES
        for at in range(0, whole, LANES):
            store(here, at, below(zero, load(passed, at), load(here, at), zero))
        for at in range(whole, len(here)):
            here[at] = here[at] if passed[at] > none else none


@compiled
def back_through_pool(g, y, outputs, images, largest, out):
    """g [n outputs, h, w, C], y [n, H, W, C], out [n outputs, H, W, C]; an odd row or column at the end, which no
    window sees, gets 0.

    largest: the largest number of a window gets all, if it is positive; otherwise each positive one gets the same.
    """
    none = y.dtype.type(0)
    for image in range(images[0], images[1]):
        passed, into = y[image // outputs], out[image]
        for row in range(g.shape[1]):
            for column in range(g.shape[2]):
                given, i, j = g[image, row, column], 2 * row, 2 * column
                y1, y2, y3, y4 = passed[i, j], passed[i, j + 1], passed[i + 1, j], passed[i + 1, j + 1]
                o1, o2, o3, o4 = into[i, j], into[i, j + 1], into[i + 1, j], into[i + 1, j + 1]
                if largest:
                    for at in range(len(given)):
                        value, a, b, c, d = given[at], y1[at], y2[at], y3[at], y4[at]
                        o1[at] = value if (a > none) & (a >= b) & (a >= c) & (a >= d) else none
                        o2[at] = value if (b > none) & (b > a) & (b >= c) & (b >= d) else none
                        o3[at] = value if (c > none) & (c > a) & (c > b) & (c >= d) else none
                        o4[at] = value if (d > none) & (d > a) & (d > b) & (d > c) else none
                else:
                    for at in range(len(given)):
                        value = given[at]
                        o1[at] = value if y1[at] > none else none
                        o2[at] = value if y2[at] > none else none
                        o3[at] = value if y3[at] > none else none
                        o4[at] = value if y4[at] > none else none
        _rest(into, 2 * g.shape[1], 2 * g.shape[2])


@compiled
def _rest(image, rows, columns):
    """Zeros from a row and from a column on."""
    for row in range(image.shape[0]):
        for column in range(columns if row < rows else 0, image.shape[1]):
            for channel in range(image.shape[2]):
                image[row, column, channel] = 0
