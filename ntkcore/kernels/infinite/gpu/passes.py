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
def _rectified(k, t, s, per_s, GAP: tl.constexpr, P: tl.constexpr):
    """k and t behind a ReLU; s: the product of the roots of both variances, per_s: its inverse."""
    gap = 1.0 - tl.minimum(tl.maximum(k * per_s, -1.0), 1.0)
    gap = tl.where(gap <= GAP, 0.0, gap)
    cosine = 1.0 - gap
    sine = tl.sqrt(gap * (2.0 - gap))
    size = tl.abs(cosine)
    w = tl.where(size > 0.5, 0.5 * (1.0 - size), cosine * cosine)
    arcsin = tl.sqrt(w) * _arcsin_over(w, P)
    theta = tl.where(size > 0.5, 2.0 * arcsin, 0.5 * PI - arcsin)  # of |cosine|
    turn = PER_TURN * tl.where(cosine < 0.0, theta, PI - theta)
    return (sine * PER_TURN + turn * cosine) * s, t * turn


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
        k_here, t_here = _rectified(k_here, t_here, s, per_s, GAP, P)
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


@triton.jit
def _plus(a, b):
    return a + b


@triton.jit
def planes(
    u1,
    u2,
    r1,
    r2,
    room,
    k_out,
    t_out,
    n1,
    n2,
    UPPER: tl.constexpr,
    C: tl.constexpr,
    H: tl.constexpr,
    W: tl.constexpr,
    ACROSS: tl.constexpr,
    BOX: tl.constexpr,
    AFFINE: tl.constexpr,
    WEIGHT: tl.constexpr,
    BIAS: tl.constexpr,
    RELU: tl.constexpr,
    BEGUN: tl.constexpr,
    TIMES: tl.constexpr,
    GAP: tl.constexpr,
    P: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A whole net that needs equal positions only: a program takes BLOCK pairs of images through all steps, then the
    next ones. Their planes [BLOCK, 2, H, W] are written over again and again in its part of ``room``, small enough to
    stay in the caches.

    u1 [n1, C, H, W], u2: images; r1 [n1, TIMES, H, W], r2: roots of variances before each ReLU; ACROSS: a power of two
    from W on. Of each step: BOX (over 3x3 positions) and AFFINE, 0 or 1, WEIGHT, BIAS, RELU (its number, or -1), BEGUN
    (t is there). k_out, t_out [n1, n2]: means over all positions; UPPER: pairs with i > j are left out.
    """
    PLANE: tl.constexpr = H * W
    x = tl.arange(0, ACROSS)[None, :]
    number = tl.arange(0, BLOCK)[:, None]
    k = room + (tl.program_id(0) * BLOCK + number) * (2 * PLANE) + x
    t = k + PLANE
    zero = tl.full([BLOCK, ACROSS], 0.0, room.dtype.element_ty)
    blocks = (n2 + BLOCK - 1) // BLOCK
    for item in range(tl.program_id(0), n1 * blocks, tl.num_programs(0)):
        i = item // blocks
        start = item % blocks * BLOCK
        if not UPPER or i < start + BLOCK:
            j = start + number
            here = (j < n2) & (x < W)
            row, column = i.to(tl.int64), j.to(tl.int64)  # of many large images, more numbers than 32 bits count
            one = u1 + row * (C * PLANE) + x
            two = u2 + column * (C * PLANE) + x
            root_one = r1 + row * (TIMES * PLANE) + x
            root_two = r2 + column * (TIMES * PLANE) + x
            for y in range(H):
                product = zero
                for c in tl.static_range(C):
                    to = c * PLANE + y * W
                    product += tl.load(one + to, mask=here, other=0.0) * tl.load(two + to, mask=here, other=0.0)
                tl.store(k + y * W, product, mask=here)
            tl.debug_barrier()
            k_sum = zero
            t_sum = zero
            for step in tl.static_range(len(BOX)):
                # Sums over three columns of the two rows before. Of two names for one value, Triton's loop forgets one.
                k_0 = tl.full([BLOCK, ACROSS], 0.0, room.dtype.element_ty)
                k_1 = tl.full([BLOCK, ACROSS], 0.0, room.dtype.element_ty)
                t_0 = tl.full([BLOCK, ACROSS], 0.0, room.dtype.element_ty)
                t_1 = tl.full([BLOCK, ACROSS], 0.0, room.dtype.element_ty)
                for reached in range(H + BOX[step]):
                    inside = here & (reached < H)
                    k_here = tl.load(k + reached * W, mask=inside, other=0.0)
                    t_here = tl.load(t + reached * W, mask=inside, other=0.0) if BEGUN[step] else k_here
                    if BOX[step]:
                        left = inside & (x > 0)
                        right = inside & (x < W - 1)
                        k_2 = k_here + tl.load(k + reached * W - 1, mask=left, other=0.0)
                        k_2 += tl.load(k + reached * W + 1, mask=right, other=0.0)
                        k_here = k_0 + k_1 + k_2
                        k_0 = k_1
                        k_1 = k_2
                        if BEGUN[step]:
                            t_2 = t_here + tl.load(t + reached * W - 1, mask=left, other=0.0)
                            t_2 += tl.load(t + reached * W + 1, mask=right, other=0.0)
                            t_here = t_0 + t_1 + t_2
                            t_0 = t_1
                            t_1 = t_2
                    y = reached - BOX[step]
                    done = here & (y >= 0)
                    if AFFINE[step]:
                        k_here = k_here * WEIGHT[step] + BIAS[step]
                        t_here = t_here * WEIGHT[step] + k_here if BEGUN[step] else k_here
                    if RELU[step] >= 0:
                        root = RELU[step] * PLANE + y * W
                        s = tl.load(root_one + root, mask=done, other=1.0)
                        s *= tl.load(root_two + root, mask=done, other=1.0)
                        k_here, t_here = _rectified(k_here, t_here, s, 1.0 / s, GAP, P)
                    if step == len(BOX) - 1:
                        k_sum += tl.where(done, k_here, 0.0)
                        t_sum += tl.where(done, t_here, 0.0)
                    else:
                        tl.debug_barrier()  # whoever needs the row that is written over has read it
                        tl.store(k + y * W, k_here, mask=done)
                        tl.store(t + y * W, t_here, mask=done)
                tl.debug_barrier()
            to = i * n2 + j
            tl.store(k_out + to, tl.reduce(k_sum, 1, _plus, keep_dims=True) / PLANE, mask=j < n2)
            tl.store(t_out + to, tl.reduce(t_sum, 1, _plus, keep_dims=True) / PLANE, mask=j < n2)
