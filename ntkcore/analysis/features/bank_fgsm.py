"""One step of signs against every predictor of a bank, where the kernel tells what such a step does (``Expansion``).

Passes, each for what the one before it left open: gradients as mixtures, with a bound on what they and few directions
leave out; the same with many directions; each pair's own gradient, still with a bound for its value after the step; the
kernel itself at the attacked images, in single and then in double precision. The first decides nearly all, so a sweep
costs a few matrix products in place of two for each test image::

    found = sweep_by_signs(around, bank, inner, right, y_test, attack, tolerance, progress)
    found.right_after, found.stuck                       # [m, B] bool
    found.doubtful                          # test images, predictors, attacked images: for double precision
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, loss
from ntkcore.analysis.features.bank import Bank
from ntkcore.analysis.features.fgsm_directions import ALL_UP_TO
from ntkcore.analysis.features.fgsm_expansion import FEW, MANY, Expansion, SignSteps
from ntkcore.analysis.predict import correct, margins
from ntkcore.kernels.blocks import slices
from ntkcore.kernels.protocols import Progress

IMAGES = 512  # test images that are expanded together
PREDICTORS = 1024  # that are attacked at these before others are
ROUGH_PAIRS, ROUGH_PREDICTORS = 16384, 256  # that are taken together at most, with gradients as mixtures
BLOCK_BYTES = 48e6  # gradients and weights of the pairs that are taken together, each with its own
NOTE = "attacking features"


@dataclass(frozen=True, eq=False)
class SignSweep:
    """right_after, stuck [m, B] bool; doubtful: (test images [k], predictors [k], attacked images [k, C, H, W]), whose
    verdicts in right_after are open."""

    right_after: Tensor
    stuck: Tensor
    doubtful: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)


def covers(bank: Bank, attack: Attack) -> bool:
    """Whether the attack is one step of signs, on predictors with one inner value."""
    return attack.norm == "linf" and attack.one_step and bank.weights.shape[-1] == 1


def sweep_by_signs(
    around: Expansion,
    bank: Bank,
    inner: Tensor,
    right: Tensor,
    y: Tensor,
    attack: Attack,
    tolerance: Tensor,
    progress: Progress | None = None,
) -> SignSweep:
    """Attack the predictors of ``bank`` (float32) at the test images that they have right, [m, B] bool.

    around: of the bank's weights, at the test images; inner [m, B, 1]: values before the readout; y [m, c]; tolerance
    [B]: what single precision may change of an output.
    """
    found = SignSweep(torch.zeros_like(right), torch.zeros_like(right))
    attacked = _AttackedPairs(around, bank, inner[:, :, 0], y.float(), attack)
    total, done, numbers = max(1, int(right.sum())), 0, around.x[0].numel() + 2 * bank.weights.shape[1]
    open_ = torch.nonzero(right.T)[:, [1, 0]]  # (image, predictor), one predictor after the other
    many = MANY if min(around.train.shape) > ALL_UP_TO else FEW  # where there are few, both are all of them
    passes = [(FEW, True), (many, True), (many, False)] if around.worthwhile else [(many, False)]
    for directions, rough in dict.fromkeys(passes):
        left = []
        for pairs in _by_predictors(open_) if rough else _by_size(open_, numbers):
            if progress is not None:
                progress(done, total, NOTE)
            steps, outputs = attacked.step(pairs, directions, rough)
            i, b = pairs[:, 0], pairs[:, 1]
            verdict, sure = attacked.judge(steps, outputs, pairs, tolerance)
            found.right_after[i, b], found.stuck[i, b] = verdict, steps.stuck
            still = (~sure).nonzero().squeeze(1)
            left.append(pairs[still])
            if not rough and len(still):
                found.doubtful.append((i[still], b[still], steps.images(still)))
            done += len(pairs) if not rough or not around.worthwhile else int(sure.sum())
        open_ = torch.cat(left) if left else open_[:0]
    return found


@dataclass(frozen=True, eq=False)
class _AttackedPairs:
    """What is attacked: predictors around some test images."""

    around: Expansion
    bank: Bank
    inner: Tensor  # [m, B]
    y: Tensor
    attack: Attack

    def step(self, pairs: Tensor, directions: int, rough: bool) -> tuple[SignSteps, Tensor]:
        """pairs [P, 2] -> the steps, outputs [P, c] after them."""
        i, b = pairs[:, 0], pairs[:, 1]
        before = self.inner[i, b]
        with torch.enable_grad():
            g = before.float().requires_grad_()
            (uphill,) = torch.autograd.grad(loss(self._read(g, b), self.y[i]).sum(), g)
        size = min(self.attack.eps, self.attack.step_size)
        ways = uphill.sign().numpy()
        steps = self.around.sign_steps(b.numpy(), i.numpy(), ways, size, directions, rough)
        return steps, self._read((before + steps.change).float(), b)

    def judge(self, steps: SignSteps, outputs: Tensor, pairs: Tensor, tolerance: Tensor) -> tuple[Tensor, Tensor]:
        """Which outputs are right, and of which that is sure: [P] bool each."""
        i, b = pairs[:, 0], pairs[:, 1]
        reach = 1.0 if self.bank.readout is None else self.bank.readout[b].flatten(1).norm(dim=1)
        doubt = tolerance[b] + steps.bound.float() * reach
        return correct(outputs, self.y[i]), margins(outputs, self.y[i]).abs() >= doubt  # not sure where not a number

    def _read(self, g: Tensor, b: Tensor) -> Tensor:
        return g[:, None] if self.bank.readout is None else g[:, None] * self.bank.readout[b, 0]


def _by_size(pairs: Tensor, numbers: int) -> Iterator[Tensor]:
    """numbers: that are held for each pair."""
    for part in slices(len(pairs), max(1, int(BLOCK_BYTES / (4 * numbers)))):
        yield pairs[part]


def _by_predictors(pairs: Tensor) -> Iterator[Tensor]:
    """So many pairs, of so many predictors, as one mixture is made for; pairs [P, 2] one predictor after the other."""
    start = 0
    while start < len(pairs):
        stop = int(torch.searchsorted(pairs[:, 1].contiguous(), pairs[start, 1] + ROUGH_PREDICTORS))
        stop = min(stop, start + ROUGH_PAIRS)
        yield pairs[start:stop]
        start = stop
