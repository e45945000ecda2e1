"""Many predictors on a dense kernel around one image: their gradients, and their values after a step of signs.

``f_b(x) = sum_j w_bj K(x, x_j)``, K seen through the covariances ``c_j = <u, u_j> / d``. After a step s of the mapped
image u the value is, exactly::

    f_b(u + s) = f_b(u) + <G_b, s> + sum_j w_bj (K(c_j + e_j) - K(c_j) - K'(c_j) e_j),    e_j = <s, u_j> / d

with the gradient ``G_b`` that the step was made of. Only the last sum needs the moves e_j, and it is small, so they may
be known roughly: from the strongest DIRECTIONS of the training images alone. What that leaves open is bounded by
Cauchy-Schwarz, ``|w_b (K'(c + e) - K'(c))| s_next |s_rest| / d``, s_next the largest singular value of what the
directions miss of the images, s_rest what they miss of the step. One product an image remains, that for the
gradients; without all this there would be two, and K of each predictor's own image with all others::

    around = Expansion.of(kernel, kernel.prepare(x_train))                  # None: not for this kernel
    step = around.sign_step(x, weights, signs, eps)
    step.change, step.bound                                                # [B] each: f_b(z_b) - f_b(x)
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ntkcore.kernels import dense, entries
from ntkcore.kernels.arccosine import constants
from ntkcore.kernels.blocks import KernelFunction, slices, untiled
from ntkcore.kernels.infinite import InfiniteKernel
from ntkcore.kernels.prepared import Prepared
from ntkcore.kernels.vectors import LANES, threads

DIRECTIONS = 64
SLACK = 2.0  # on the bound: for the second order of what the directions miss, and the rounding of single precision
POWER_STEPS = 12  # to find the largest singular value of what they miss


@dataclass(frozen=True, eq=False)
class SignStep:
    """What one sign step from ``image`` did to B predictors.

    steps [B, d filled up]: of the mapped image; change [B] float64, ``f_b`` after less before, known up to bound [B];
    stuck [B] bool: no gradient to follow.
    """

    image: Tensor
    scale: float
    steps: Tensor
    change: Tensor
    bound: Tensor
    stuck: Tensor

    def images(self, index: Tensor) -> Tensor:
        """After the steps of some predictors, [len(index), C, H, W] in pixels."""
        moved = self.steps[index, : self.image.numel()] * self.scale
        return (self.image + moved.view(-1, *self.image.shape)).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Expansion:
    """The kernel and the training images, mapped, as arrays whose rows are filled up to whole lanes."""

    kernel: InfiniteKernel
    train: Prepared
    u: np.ndarray  # [n, d]
    directions: np.ndarray  # [d, r]
    along: np.ndarray  # [n, r]: the images along the directions
    missed: float  # largest singular value of what they miss
    roots: np.ndarray

    @classmethod
    def of(cls, kernel: KernelFunction, train: Prepared) -> "Expansion | None":
        """None where the kernel is not that of a dense ReLU net in single precision on the CPU."""
        bare = untiled(kernel)
        if not isinstance(bare, InfiniteKernel) or not isinstance(train, Prepared) or len(train) == 0:
            return None
        if train.dtype != torch.float32 or not dense.covers(bare.net, train.images):
            return None
        u = train.images.detach().flatten(1)
        rank = min(DIRECTIONS, *u.shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            directions = torch.svd_lowrank(u, q=rank, niter=3)[2]
            along = u @ directions
            missed = _largest(u, along, directions)
        return cls(
            bare,
            train,
            filled(u),
            np.ascontiguousarray(filled(directions.T).T),
            along.numpy(),
            missed,
            dense.columns_of_roots(train),
        )

    def sign_step(self, x: Tensor, weights: np.ndarray, index: Tensor, signs: Tensor, eps: float) -> SignStep:
        """The step ``eps sign(signs_b G_b)`` of each predictor from x [C, H, W] (pixels), clipped to [0, 1].

        weights [F, n filled up] float32, of which predictor b has number index[b]; signs [B]: which way along the
        gradient, or 0.
        """
        net, ntk = self.kernel.net, self.kernel.kind == "ntk"
        c, steps, d = constants(np.float32), dense.steps_of(net, np.float32), np.float32(x.numel())
        u, pixels = (filled(image.reshape(1, -1))[0] for image in (self.kernel.inputs(x[None].float()), x.float()))
        covariances, square = self.u @ u / d, torch.tensor([u @ u / d])
        slope, tilt = self.kernel.slopes(torch.from_numpy(covariances), square, self.train.variances)
        slope, tilt, covariances = (filled(row[None]) for row in (slope, tilt, torch.from_numpy(covariances)))
        rows, count = index.numpy(), len(index)
        tilts = 2 * (weights @ tilt[0])[rows] / d
        parts = [(part.start, part.stop) for part in slices(count, 32)]
        scaled, sums, rest = np.empty((count, weights.shape[1]), np.float32), np.zeros((count, 4)), np.zeros((count, 2))
        ways, scale = signs.float().numpy(), np.float32(self.kernel.inputs.scale)
        with ThreadPoolExecutor(threads()) as pool:
            factors = slope[0] / d
            list(pool.map(lambda part: entries.chosen(weights, rows, factors, part, scaled), parts))
            gradients = scaled[:, : len(self.train)] @ self.u
            work = (pixels, u, scale, gradients, tilts, ways, np.float32(eps))
            list(pool.map(lambda part: entries.sign_steps(*work, part, c, sums), parts))
            steered = gradients @ self.directions
            moves = filled(torch.from_numpy(steered @ (self.along / d).T))
            after = torch.from_numpy((u @ u + 2 * sums[:, 1] + sums[:, 2]) / d).float()
            base = self._base(covariances, square)
            arrays = (base[0], slope[0], covariances[0], moves, self._roots_of(after), self.roots, weights, rows)
            list(pool.map(lambda part: entries.remainders(steps, *arrays, part, ntk, c, rest), parts))
        change = sums[:, 0] + rest[:, 0] - tilts * sums[:, 1]
        missed = np.sqrt(np.maximum(sums[:, 2] - (steered.astype(np.float64) ** 2).sum(1), 1e-6 * sums[:, 2]))
        bound = SLACK * self.missed / d * np.sqrt(rest[:, 1]) * missed
        found = (torch.from_numpy(a) for a in (gradients, change, bound, (sums[:, 3] == 0) | (ways == 0)))
        return SignStep(x, scale, *found)

    def _base(self, covariances: np.ndarray, square: Tensor) -> np.ndarray:
        """K of the image with every training image by the same loops, so that rounding cancels: [1, n filled up]."""
        steps, c = dense.steps_of(self.kernel.net, np.float32), constants(np.float32)
        far = steps._replace(close=np.array([dense.NEVER, np.nan], np.float32))
        roots = self._roots_of(square)
        out, counts = np.empty_like(covariances), np.zeros(1, np.int64)
        ntk = self.kernel.kind == "ntk"
        entries.entries(far, covariances, np.float32(1), roots, self.roots, (0, 1), ntk, False, c, out, counts)
        return out

    def _roots_of(self, q: Tensor) -> np.ndarray:
        """Of the input's variances q [B] -> [B, activations, 2]."""
        variances = self.kernel._local_variances(q)
        return dense.rows_of_roots(Prepared(q.view(-1, 1, 1, 1), variances))


def _largest(u: Tensor, along: Tensor, directions: Tensor) -> float:
    """Largest singular value of ``u - along directions^T``, from below by power steps, a tenth added."""
    v = torch.randn(u.shape[1], 1)
    size = 0.0
    for _ in range(POWER_STEPS):
        v = v / v.norm().clamp(min=1e-30)
        w = u @ v - along @ (directions.T @ v)
        size = float(w.norm())
        v = u.T @ w - directions @ (along.T @ w)
    return 1.1 * size


def filled(rows: Tensor) -> np.ndarray:
    """[n, d] with rows filled up to whole lanes with zeros."""
    return F.pad(rows.detach(), (0, -rows.shape[1] % LANES)).contiguous().numpy()
