"""The passes of ``fused`` as Triton programs; the formulas are those of ``ntkcore.covariance``.

Everything that is a number of the net is a constant of the program, so that it has the precision of the images.
"""

import math

import triton
import triton.language as tl

PI = tl.constexpr(math.pi)
PER_TURN = tl.constexpr(1 / (2 * math.pi))


@triton.jit
def _arcsin_over(w, P: tl.constexpr):
    """``arcsin(z) / z`` for w = z^2 in [0, 1/4]; P: the coefficients, lowest power first."""
    value = w * P[len(P) - 1] + P[len(P) - 2]
    for at in tl.static_range(2, len(P)):
        value = value * w + P[len(P) - 1 - at]
    return value


@triton.jit
def _pair(at, n2, H: tl.constexpr, W: tl.constexpr):
    """Image, row and column of both sides at a place of [n1, H, W, n2, H, W]."""
    one = at // (W * H) // n2
    return one // (W * H), one // W % H, one % W, at // (W * H) % n2, at // W % H, at % W


@triton.jit
def layer(
    k,
    t,
    k_out,
    t_out,
    r1,
    r2,
    n1,
    n2,
    numbers,
    H: tl.constexpr,
    W: tl.constexpr,
    WEIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    GAP: tl.constexpr,
    P: tl.constexpr,
    PAIRS: tl.constexpr,
    MATCHED: tl.constexpr,
    BOX: tl.constexpr,
    RELU: tl.constexpr,
    FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """An affine layer (WEIGHT; BOX: over 3x3 positions), a ReLU or both on all covariances.

    FIRST: t is not there yet; an affine layer makes it the new k. r1 [n1, 2, H, W], r2 [n2, 2, H, W]: roots of
    variances and their inverses; MATCHED: n2 is 1, and column i is meant.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    if PAIRS:  # [n1, H, W, n2, H, W]
        i, py, px, j, qy, qx = _pair(at, n2, H, W)
        across = n2 * H * W + 1  # to (p, q) one column on
        down = W * n2 * H * W + W
    else:  # [H, W, n1, n2]
        j = at % n2
        i = at // n2 % n1
        rest = at // n2 // n1
        px = rest % W
        py = rest // W
        qx = px
        qy = py
        across = n1 * n2
        down = W * n1 * n2
    k_here = tl.load(k + at, mask=inside, other=0.0)
    t_here = k_here if FIRST else tl.load(t + at, mask=inside, other=0.0)
    if BOX:
        for dy in tl.static_range(-1, 2):
            in_rows = inside & (py + dy >= 0) & (py + dy < H) & (qy + dy >= 0) & (qy + dy < H)
            for dx in tl.static_range(-1, 2):
                if dy != 0 or dx != 0:
                    there = in_rows & (px + dx >= 0) & (px + dx < W) & (qx + dx >= 0) & (qx + dx < W)
                    to = at + dy * down + dx * across
                    k_here += tl.load(k + to, mask=there, other=0.0)
                    if not FIRST:
                        t_here += tl.load(t + to, mask=there, other=0.0)
    if WEIGHT is not None:
        k_here = k_here * WEIGHT + BIAS
        t_here = k_here if FIRST else t_here * WEIGHT + k_here
    if RELU:
        one = r1 + (2 * i * H + py) * W + px
        two = r2 + (2 * (i if MATCHED else j) * H + qy) * W + qx
        s = tl.load(one, mask=inside, other=1.0) * tl.load(two, mask=inside, other=1.0)
        per_s = tl.load(one + H * W, mask=inside, other=1.0) * tl.load(two + H * W, mask=inside, other=1.0)
        gap = 1.0 - tl.minimum(tl.maximum(k_here * per_s, -1.0), 1.0)
        gap = tl.where(gap <= GAP, 0.0, gap)
        cosine = 1.0 - gap
        sine = tl.sqrt(gap * (2.0 - gap))
        size = tl.abs(cosine)
        w = tl.where(size > 0.5, 0.5 * (1.0 - size), cosine * cosine)
        arcsin = tl.sqrt(w) * _arcsin_over(w, P)
        theta = tl.where(size > 0.5, 2.0 * arcsin, 0.5 * PI - arcsin)  # of |cosine|
        turn = PER_TURN * tl.where(cosine < 0.0, theta, PI - theta)
        k_here = (sine * PER_TURN + turn * cosine) * s
        t_here = t_here * turn
    tl.store(k_out + at, k_here, mask=inside)
    tl.store(t_out + at, t_here, mask=inside)


@triton.jit
def pool(k, t, k_out, t_out, n2, numbers, H: tl.constexpr, W: tl.constexpr, FIRST: tl.constexpr, BLOCK: tl.constexpr):
    """2x2 means over p and over q: [n1, H, W, n2, H, W] -> half of each side; an odd last row or column is dropped."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < numbers
    h: tl.constexpr = H // 2
    w: tl.constexpr = W // 2
    i, py, px, j, qy, qx = _pair(at, n2, h, w)
    start = (((i * H + 2 * py) * W + 2 * px) * n2 + j) * (H * W) + 2 * qy * W + 2 * qx
    k_here = tl.load(k + start, mask=inside, other=0.0)
    t_here = k_here if FIRST else tl.load(t + start, mask=inside, other=0.0)
    for p in tl.static_range(4):
        for q in tl.static_range(4):
            if p + q > 0:
                to = start + (p // 2 * W + p % 2) * n2 * H * W + q // 2 * W + q % 2
                k_here += tl.load(k + to, mask=inside, other=0.0)
                if not FIRST:
                    t_here += tl.load(t + to, mask=inside, other=0.0)
    tl.store(k_out + at, k_here / 16.0, mask=inside)
    tl.store(t_out + at, (k_here if FIRST else t_here) / 16.0, mask=inside)
