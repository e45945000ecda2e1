"""Many predictors on a dense kernel around many images: their gradients, and their values after a step of signs.

``f_b(x) = sum_j w_bj K(x, x_j)``, K seen through the covariances ``c_j = <u, u_j> / d`` of the mapped images. After a
step s of the mapped image u the value is, exactly::

    f_b(u + s) = f_b(u) + <G, s> + sum_j w_bj (K(c_j + e_j) - K(c_j) - K'(c_j) e_j),    e_j = <s, u_j> / d

with the gradient ``G = sum_j w_bj K'(c_j) u_j / d + ...`` that the step was made of. Two things make that cheap:

* The last sum is small, so the moves e_j may be known roughly, from the strongest directions of the training images,
  FEW of them at first and MANY for the pairs that these do not decide. What that leaves open is at most
  ``|w_b (K'(c + e) - K'(c))| missed |s_rest| / d``: ``missed`` is the largest singular value of what the directions
  leave of the images, s_rest what they leave of the step.
* The slopes ``K'(c_ij)`` of image i and training image j are nearly a sum of few products ``a_ir b_rj``. The
  gradients of a predictor at all images are then mixtures of the few vectors ``sum_j w_bj b_rj u_j``; of the rest of
  the slopes, only what lies along the directions is added. (Where images have 256 levels and integers are multiplied
  faster, the factors ``w_bj b_rj`` are rounded to fifteen bits, and what that loses belongs to the rest.) The length of
  what is still missing, D, is estimated from PROBES random projections; SAFE times the estimate is exceeded with a
  probability of about 1e-9 (chi-squared with PROBES degrees of freedom). It may turn signs, but ``max_s <G, s>``,
  which the step of signs attains, moves by at most ``eps |D|_1``.

::

    around = Expansion.of(kernel, kernel.prepare(x_train), x_test, weights) # None: not for this kernel
    step = around.sign_steps(b, i, ways, eps, FEW, rough=True)              # of predictors b at images i
    step.change, step.bound                                                 # [P] each: f_b(z) - f_b(x_i)
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ntkcore.analysis.features import fgsm_loops
from ntkcore.analysis.features.fgsm_directions import PROBES, Directions, filled, same_random_numbers
from ntkcore.kernels.blocks import slices, untiled
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.infinite.cpu import dense, integers
from ntkcore.kernels.infinite.prepared import Prepared, local_variances
from ntkcore.kernels.loops.arccosine import constants
from ntkcore.kernels.loops.vectors import threads
from ntkcore.kernels.protocols import Images, KernelFunction

FEW, MANY = 32, 128  # directions
SAFE = 2.0
SLACK = 2.0  # on the bounds: for what is of second order in them, and the rounding of single precision
ROUGHLY = 0.04  # of the slopes, that their mixture may leave out
MOST_MIXED = 12  # products of that mixture
CLOSE, SAME = 0.03, 1e-13  # one less the cosine of two images that nearly coincide; of an image and itself
SHARE = 256  # pairs that a thread takes at a time


@dataclass(frozen=True, eq=False)
class SignSteps:
    """What a sign step did to P pairs of a predictor and an image.

    steps [P, d filled up] of the mapped images, overwritten by the next call; None of rough ones. change [P] float64,
    the predictor after less before, known up to bound [P]; stuck [P] bool: no gradient to follow.
    """

    x: Tensor  # the images that were attacked
    i: Tensor
    scale: float
    steps: Tensor | None
    change: Tensor
    bound: Tensor
    stuck: Tensor

    def images(self, index: Tensor) -> Tensor:
        """After the steps of some pairs, [len(index), C, H, W] in pixels."""
        origins = self.x[self.i[index]]
        assert self.steps is not None  # rough ones have no images
        moved = self.steps[index, : self.x[0].numel()] * self.scale
        return (origins + moved.view(origins.shape)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Expansion:
    """A kernel, predictors, training and test images as arrays whose rows are filled up to whole lanes."""

    kernel: InfiniteKernel
    weights: np.ndarray  # [F, n], one row a predictor
    x: Tensor  # [m, C, H, W] test images
    pixels: np.ndarray  # [m, d]
    u: np.ndarray  # [m, d] mapped
    squares: np.ndarray  # [m]
    train: np.ndarray  # [n, d] mapped
    roots: np.ndarray  # of the training images' variances
    around: np.ndarray  # [3, m, n]: covariances, kernel, slopes of each test image with each training image
    twists: Tensor  # [m, n]: slopes of each test image's kernel in its variance, twice, over d
    tilts: np.ndarray  # [F, m]: of each predictor
    shares: np.ndarray  # [m, R]: a
    mixture: np.ndarray  # [R, n]: b
    rest: np.ndarray  # [m, n]: slopes less a b
    levels: integers.Integers | None  # the training images, where that is faster
    directions: dict[int, Directions] = field(default_factory=dict)  # of the training images, by their number
    space: dict[str, np.ndarray] = field(default_factory=dict)  # large arrays, used again by every call

    @staticmethod
    def fits(kernel: KernelFunction, images: Tensor) -> bool:
        """Whether the kernel may have one on such training images."""
        bare = untiled(kernel)
        return isinstance(bare, InfiniteKernel) and dense.covers(bare.net, images)

    @classmethod
    def of(cls, kernel: KernelFunction, train: Images, x: Tensor, weights: Tensor) -> "Expansion | None":
        """None where the kernel is not that of a dense ReLU net in single precision on the CPU.

        x [m, C, H, W] test images; weights [F, n] float32, one row a predictor.
        """
        bare = untiled(kernel)
        if not isinstance(bare, InfiniteKernel) or not isinstance(train, Prepared) or min(len(train), len(x)) == 0:
            return None
        if train.dtype != torch.float32 or not cls.fits(kernel, train.images):
            return None
        u, x = train.images.detach().flatten(1), x.float()
        with same_random_numbers():
            mapped = bare.inputs(x).flatten(1)
            d = float(u.shape[1])
            covariances, squares = mapped @ u.T / d, (mapped * mapped).sum(1) / d
            roots = dense.columns_of_roots(train)
            own = dense.roots_of_squares(bare.net, squares)  # by the same loops as after a step: their rounding cancels
            base = dense.values_of(bare.net, bare.kind, filled(covariances), own, roots)
            slopes, tilts = _slopes(bare, mapped, train, covariances, squares)
            if not bool(slopes.isfinite().all()):
                return None
            shares, mixture = _mixture(slopes)
            rest = slopes - shares @ mixture
        around = np.stack([filled(a) for a in (covariances, torch.from_numpy(base)[:, : len(train)], slopes)])
        return cls(
            bare,
            filled(weights),
            x,
            filled(x.flatten(1)),
            filled(mapped),
            squares.numpy(),
            filled(u),
            roots,
            around,
            2 / d * tilts,
            (weights @ (2 / d * tilts).T).numpy(),
            shares.contiguous().numpy(),
            filled(mixture),
            filled(rest),
            integers.integers(u),
        )

    def with_predictors(self, weights: Tensor) -> "Expansion":
        """Other predictors around the same images, weights [F, n] float32; in the same room for large arrays."""
        return replace(self, weights=filled(weights), tilts=(weights @ self.twists.T).numpy())

    @property
    def worthwhile(self) -> bool:
        """Whether mixtures cost less than each pair's own gradient."""
        return 4 * self.shares.shape[1] < len(self.x)

    def sign_steps(
        self, b: np.ndarray, i: np.ndarray, ways: np.ndarray, eps: float, directions: int, rough: bool
    ) -> SignSteps:
        """The steps ``eps sign(ways_p G_p)`` of predictors b [P] at images i [P], clipped to [0, 1].

        ways [P]: which way along the gradient, or 0. directions: how many of them. rough: gradients as mixtures (the
        module's text), best where b repeats itself; otherwise from the slopes themselves.
        """
        known = self._directions(directions)
        d, n, count, weights = np.float32(self.x[0].numel()), len(self.train), len(b), self.weights
        c, net = constants(np.float32), dense.steps_of(self.kernel.net, np.dtype(np.float32))
        ntk, scale = self.kernel.kind == "ntk", np.float32(self.kernel.inputs.scale)
        sums, rest = np.zeros((count, 4)), np.zeros((count, 2))
        steered = np.empty((count, known.vectors.shape[1]), np.float32)
        tilts = self.tilts[b, i]
        with ThreadPoolExecutor(threads()) as pool:

            def each(loop: Callable[[tuple[int, int]], None]) -> None:
                list(pool.map(loop, [(part.start, part.stop) for part in slices(count, SHARE)]))

            if rough:
                gradients = np.empty((0, 0), np.float32)
                seen = np.empty((count, known.along.shape[1]), np.float32)
                first = int(b.min())
                mixes, lost = self._mixes(first, int(b.max()) + 1)
                which, shares, factors = b - first, self.shares[i], self.rest / d
                open_ = (weights, b, factors, i, shares, which, lost, known.along)
                each(lambda part: fgsm_loops.along_directions(*open_, part, seen))
                unknown = SAFE * np.linalg.norm(seen[:, -PROBES:].astype(np.float64), axis=1)
                seen = np.ascontiguousarray(seen[:, :-PROBES])
            else:
                scaled, gradients = self._room("scaled", count), self._room("gradients", count)
                factors = self.around[2] / d
                each(lambda part: fgsm_loops.chosen(weights, b, factors, i, part, scaled))
                np.matmul(scaled[:, :n], self.train, out=gradients)
                unknown, mixes = np.zeros(count), np.empty((0, 0, 0), np.float32)
                which, shares = np.zeros(count, np.int64), np.empty((count, 0), np.float32)
                seen = np.empty((0, 0), np.float32)
            images = (self.pixels, self.u, scale, i, gradients, not rough, seen, known.across, known.vectors)
            follow = (mixes, which, shares, tilts, ways, np.float32(eps))
            each(lambda part: fgsm_loops.sign_steps(*images, *follow, part, c, sums, steered))
            after = self.squares[i] + (2 * sums[:, 1] + sums[:, 2]) / d
            roots = dense.roots_of_squares(self.kernel.net, torch.from_numpy(after).float())
            moved = (self.around, i, steered, known.reach, roots, self.roots, weights, b)
            each(lambda part: fgsm_loops.remainders(net, *moved, part, ntk, c, rest))
        change = sums[:, 0] + rest[:, 0] - tilts * sums[:, 1]
        missed = np.sqrt(np.maximum(sums[:, 2] - (steered.astype(np.float64) ** 2).sum(1), 1e-6 * sums[:, 2]))
        bound = SLACK * known.missed / d * np.sqrt(rest[:, 1]) * missed
        if rough:  # a step of signs takes <G, s> as far as it goes, so G less by D takes it at most eps |D|_1 less far
            bound += unknown * eps / scale * d**0.5 + np.abs(rest[:, 0])
        steps = None if rough else torch.from_numpy(gradients)
        found = (torch.from_numpy(a) for a in (change, bound, (sums[:, 3] == 0) | (ways == 0)))
        return SignSteps(self.x, torch.from_numpy(i), float(scale), steps, *found)

    def _directions(self, count: int) -> Directions:
        if count not in self.directions:
            self.directions[count] = Directions.of(torch.from_numpy(self.train[:, : self.x[0].numel()]), count)
        return self.directions[count]

    def _mixes(self, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """``sum_j w_bj b_rj u_j / d`` [G, R, d filled up] of some predictors, and what rounding has lost of ``w_bj b_rj
        / d``: [G, R, n filled up], or [G, 0, n] where nothing was rounded."""
        share = np.float32(1 / self.x[0].numel())
        mixed = self.weights[first:stop, None] * (self.mixture * share)  # [G, R, n]
        flat, shape = mixed.reshape(-1, mixed.shape[2])[:, : len(self.train)], mixed.shape[:2]
        if self.levels is None:
            return (flat @ self.train).reshape(*shape, -1), mixed[:, :0]
        found, lost = integers.mixtures(torch.from_numpy(flat), self.levels)
        return filled(found).reshape(*shape, -1), filled(lost).reshape(*shape, -1)

    def _room(self, name: str, rows: int) -> np.ndarray:
        """[rows, d filled up] for gradients, [rows, n filled up] for the others: what lies there is overwritten."""
        kept = self.space.get(name)
        if kept is None or len(kept) < rows:
            width = self.train.shape[1] if name == "gradients" else self.weights.shape[1]
            kept = self.space[name] = np.zeros((rows, width), np.float32)
        return kept[:rows]


def _slopes(
    kernel: InfiniteKernel, u: Tensor, train: Prepared, covariances: Tensor, squares: Tensor
) -> tuple[Tensor, Tensor]:
    """Slopes of the kernel in the covariances and in the variances of u, [m, n] each.

    They change fast where two images nearly coincide: those of CLOSE pairs are worked out in double precision.
    """
    each = [kernel.slopes(c, q[None], train.variances) for c, q in zip(covariances, squares, strict=True)]
    slopes, tilts = (torch.stack(side) for side in zip(*each, strict=True))
    others = train.images.detach().flatten(1)
    lengths = (others * others).mean(1)
    i, j = (covariances > (1 - CLOSE) * (squares[:, None] * lengths).sqrt()).nonzero(as_tuple=True)
    for part in slices(len(i), 2048):
        one, two = u[i[part]].double(), others[j[part]].double()
        q, variances = (one * one).mean(1), (two * two).mean(1)
        longest = (q * variances).sqrt()
        c = (one * two).mean(1)
        # an image and itself: slopes have no limit on the way there, and another value at that place itself
        c = torch.where(c > longest * (1 - SAME), longest, c)
        found = kernel.slopes(c, q, local_variances(kernel.net, variances))
        slopes[i[part], j[part]], tilts[i[part], j[part]] = (side.float() for side in found)
    return slopes, tilts


def _mixture(slopes: Tensor) -> tuple[Tensor, Tensor]:
    """a [m, R], b [R, n] with the fewest products that leave out at most ROUGHLY of the slopes."""
    most = min(MOST_MIXED, *slopes.shape)
    left, sizes, right = torch.svd_lowrank(slopes, q=most, niter=3)
    whole = slopes.double().square().sum()
    open_ = (whole - sizes.double().square().cumsum(0)).clamp(min=0) / whole.clamp(min=1e-300)
    enough = (open_ < ROUGHLY**2).nonzero()
    rank = int(enough[0]) + 1 if len(enough) else most
    return (left * sizes)[:, :rank], right.T[:rank]
