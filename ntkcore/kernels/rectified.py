"""Compiled loops for gradients on their way back through a ReLU, or a ReLU and the 2x2 pool behind it at once.

Planes are those of the gradients, [images, outputs, channels] of them in a row; a plane of the activations belongs to
all outputs of its image. ``y`` is what the ReLU returned, so ``y > 0`` is where it let gradients pass. Gradients are
only put in their places, so they may be of any dtype; those in bfloat16 come as integers of 16 bits::

    back(g, y, channels, outputs, (0, len(g)))            # g in place
    back_through_pool(g, y, channels, outputs, planes, False, out)   # g: a quarter of those at an average pool
    back_through_pool(g, y, channels, outputs, planes, True, out)    # at a max pool; of equal numbers it took the first
"""

from ntkcore.kernels.vectors import LANES, below, compiled, load, spread, store


@compiled
def back(g, y, channels, outputs, planes):
    """g, y [planes, numbers]: g = 0 wherever y is not positive."""
    zero, nothing, none, least = spread(y.dtype.type(0)), spread(g.dtype.type(0)), g.dtype.type(0), y.dtype.type(0)
    width = g.shape[1]
    whole = width // LANES * LANES
    for plane in range(planes[0], planes[1]):
        here, passed = g[plane], y[plane // (outputs * channels) * channels + plane % channels]
        for at in range(0, whole, LANES):
            store(here, at, below(zero, load(passed, at), load(here, at), nothing))
        for at in range(whole, width):
            here[at] = here[at] if passed[at] > least else none


@compiled
def back_through_pool(g, y, channels, outputs, planes, largest, out):
    """g [planes, h, w], y and out [planes, H, W]; an odd row or column at the end, which no window sees, gets 0.

    largest: the largest number of a window gets all, if it is positive; otherwise each positive one gets the same.
    """
    none, least = g.dtype.type(0), y.dtype.type(0)
    for plane in range(planes[0], planes[1]):
        passed = y[plane // (outputs * channels) * channels + plane % channels]
        for row in range(g.shape[1]):
            given, one, two = g[plane, row], out[plane, 2 * row], out[plane, 2 * row + 1]
            y_one, y_two = passed[2 * row], passed[2 * row + 1]
            if largest:
                for at in range(len(given)):
                    value = given[at]
                    a, b, c, d = y_one[2 * at], y_one[2 * at + 1], y_two[2 * at], y_two[2 * at + 1]
                    one[2 * at] = value if (a > least) & (a >= b) & (a >= c) & (a >= d) else none
                    one[2 * at + 1] = value if (b > least) & (b > a) & (b >= c) & (b >= d) else none
                    two[2 * at] = value if (c > least) & (c > a) & (c > b) & (c >= d) else none
                    two[2 * at + 1] = value if (d > least) & (d > a) & (d > b) & (d > c) else none
            else:
                for at in range(len(given)):
                    value = given[at]
                    one[2 * at] = value if y_one[2 * at] > least else none
                    one[2 * at + 1] = value if y_one[2 * at + 1] > least else none
                    two[2 * at] = value if y_two[2 * at] > least else none
                    two[2 * at + 1] = value if y_two[2 * at + 1] > least else none
        _rest(out[plane], 2 * g.shape[1], 2 * g.shape[2])


@compiled
def _rest(plane, rows, columns):
    """Zeros from a row and from a column on."""
    for row in range(plane.shape[0]):
        for column in range(columns if row < rows else 0, plane.shape[1]):
            plane[row, column] = 0
