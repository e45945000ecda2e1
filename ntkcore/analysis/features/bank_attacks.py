"""Many predictors on one kernel, attacked together: the work a sweep over all features shares.

A bank holds B predictors of the form ``f_b(x) = (K(x, X) w_b) R_b`` with weights ``w_b [n, r]`` and a readout
``R_b [r, c]`` (r = 1 for eigenfeatures). Their input gradients at an image x share the per-pair gradient
``J_j = dK(x, x_j)/dx``, computed once; every predictor's gradient is then a matrix product ``w_b^T J``. The B
adversarial images of one x are evaluated as one kernel block. A predictor that is wrong at x already is not attacked
there: for eigenfeatures, right about half the time, that is half of the work::

    bank = Bank(weights, readout)                        # [B, n, r], [B, r, c] or None
    sweep = attack_bank(kernel, x_train, bank, x_test, y_test, attack=fgsm(8 / 255))
    sweep.right_before, sweep.right_after                # [m, B] bool

Gradients and adversarial kernels are float32; a prediction whose margin lies within the float32 error is evaluated
again in float64, so the verdicts are those of a float64 evaluation of the same images.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import MAKERS, Attack, Predictor, loss_gradient
from ntkcore.analysis.features import bank_fgsm
from ntkcore.analysis.features.bank import Bank
from ntkcore.analysis.features.bank_fgsm import NOTE, covers, sweep_by_signs
from ntkcore.analysis.features.fgsm_expansion import Expansion
from ntkcore.analysis.predict import correct, margins
from ntkcore.analysis.spectrum import Spectrum, train_spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import in_double, of_prepared, prepared, slices, untiled
from ntkcore.kernels.executors import Arrays, Executor, Piece, is_block, part, spread
from ntkcore.kernels.protocols import CombiningKernel, DifferentiatingKernel, Images, KernelFunction, Progress
from ntkcore.modes import ALONE, plain

# Bound on a float32 error of K(x, X) w, in units of max|K| |w|: some twenty times the largest error that was met
# (tests/analysis/features/test_eigenfeatures.py holds it).
DOUBT = 4e-6
ROWS = 100  # images attacked together where the predictors are attacked one by one
ROWS_AT_ONCE, ONE_BY_ONE = 8, 32  # images of a piece, each with its own gradients; predictors that are attacked alone
Verdicts = tuple[Tensor, Tensor]  # right after the attack, nothing to follow: [m, B] bool each
Doubtful = list[tuple[Tensor, Tensor, Tensor]]  # test images, predictors, attacked images, whose verdicts are open


@dataclass(frozen=True, eq=False)
class BankSweep:
    """Verdicts for m images and B predictors, each [m, B] bool.

    right_after: right before and after the attack. zero_gradient: right before, and nothing for the attack to follow.
    """

    right_before: Tensor
    right_after: Tensor
    zero_gradient: Tensor


def checked_arguments(
    kernel: KernelFunction,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    s: Spectrum | None = None,
    K_test: Tensor | None = None,
    progress: Progress | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a sweep is made of, checked at its door: x [n, C, H, W], y [n, c], x_test [m, C, H, W], y_test [m, c].

    Images in [0, 1]; labels that features and predictors can be right by. Raises SpecError for anything else.
    """
    checks.function(kernel, "kernel", "It maps images to [n1, n2]; kernel_fn makes one.")
    checks.instance(attack, Attack, "attack", MAKERS)
    checks.progress(progress)
    x = checks.images(x, pixels=True).detach()
    x_test = checks.images(x_test, "x_test", pixels=True, shape=x.shape[1:]).detach()
    y = checks.labels(y, len(x))
    y_test = checks.labels(y_test, len(x_test), "y_test", y.shape[1])
    if s is not None:
        train_spectrum(kernel, x, s)
    if K_test is not None and checks.tensor(K_test, "K_test").shape != (len(x_test), len(x)):
        raise SpecError(f"K_test has shape {tuple(K_test.shape)}; [{len(x_test)}, {len(x)}] is needed, k(x_test, x).")
    return x, y.to(x.device), x_test, y_test.to(x_test.device)


@plain
def attack_bank(
    kernel: KernelFunction,
    x_train: Tensor,
    bank: Bank,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    progress: Progress | None = None,
    K_test: Tensor | None = None,
    executor: Executor | None = None,
    folder: Path | None = None,
    tell: Callable[[str], object] = warnings.warn,
) -> BankSweep:
    """Attack every predictor of the bank at every test image, each with its own perturbation.

    x_train [n, C, H, W], x_test [m, C, H, W], y_test [m, c]; K_test: ``kernel(x_test, x_train)`` [m, n] float64 if
    at hand. progress counts pairs of a predictor and an image that it gets right. executor, folder, tell: who computes
    the pieces, and where its workers find the arrays (``kernels.executors``); by default this process, the same pieces.
    Trusts what ``checked_arguments`` has checked. Raises SpecError for a kernel that is not finite, of which no
    prediction is right or wrong.
    """
    if K_test is None:
        K_test = in_double(kernel, x_test, x_train)
    if not torch.isfinite(K_test).all():
        raise SpecError(
            "The kernel of test and training images is not finite. Look at the net's weights and its scales."
        )
    inner = bank.inner(K_test)
    right = correct(bank.read(inner).flatten(0, 1), _spread(y_test.double(), len(bank))).view(len(x_test), len(bank))
    arrays = {"x_train": x_train, "x_test": x_test, "y_test": y_test, "K_test": K_test, "inner": inner, "right": right}
    arrays |= {"weights": bank.weights} | ({} if bank.readout is None else {"readout": bank.readout})
    work, verdicts = BankAttack(kernel, attack, float(K_test.abs().max())), right.new_zeros(2, *right.shape)
    pieces, done, here, total = _pieces(kernel, x_train, bank, x_test, attack), 0, 0, max(1, int(right.sum()))

    def report(share: float = 0.0, of: float = 1.0, _: str = "") -> None:
        if progress is not None:
            progress(done + here * share / max(of, 1), total, NOTE)

    if executor is None:
        for piece in pieces:
            here = int(right[piece.rows, piece.columns].sum())
            verdicts[:, piece.rows, piece.columns] = torch.from_numpy(work(arrays, piece, report)).to(right.device)
            done += here
    else:
        with closing(spread(work, arrays, pieces, executor, report, tell, folder)) as found:
            for piece, values in found:
                verdicts[:, piece.rows, piece.columns] = torch.from_numpy(values)
                done += int(right[piece.rows, piece.columns].sum())
    here = 0
    report()
    return BankSweep(right, verdicts[0], verdicts[1])


def _pieces(kernel: KernelFunction, x_train: Tensor, bank: Bank, x_test: Tensor, attack: Attack) -> Iterator[Piece]:
    """What is attacked at a time, here or by workers: the same everywhere, so that rounding is, too."""
    high, wide = ROWS_AT_ONCE, max(1, len(bank))
    if isinstance(untiled(kernel), CombiningKernel):
        high, wide = max(1, len(x_test)), ONE_BY_ONE
    elif covers(bank, attack) and Expansion.fits(kernel, x_train):
        high, wide = bank_fgsm.IMAGES, bank_fgsm.PREDICTORS
    for i, rows in enumerate(slices(len(x_test), high)):
        for j, columns in enumerate(slices(len(bank), wide)):
            yield Piece((i, j), rows, columns)


@dataclass(frozen=True, eq=False)
class BankAttack:
    """Work: some predictors attacked at some test images; right after the attack, nothing to follow: [2, h, w] bool.

    scale: the largest entry of the kernel between test and training images. kept: what the next piece may need again.
    """

    kernel: KernelFunction
    attack: Attack
    scale: float
    kept: dict[str, tuple[slice | None, Any]] = field(default_factory=dict)

    def __call__(self, arrays: Arrays, piece: Piece, progress: Progress | None) -> np.ndarray:
        """arrays as ``attack_bank`` lays them out."""
        rows, columns = piece.rows, piece.columns
        bank = self._once(
            "bank",
            columns,
            lambda: Bank(*(part(arrays[name], columns) for name in ("weights", "readout") if name in arrays)),
        )
        x, y, K = (part(arrays[name], rows) for name in ("x_test", "y_test", "K_test"))
        inner, right = (part(arrays[name], rows, columns) for name in ("inner", "right"))
        train = self._once("train", None, lambda: part(arrays["x_train"], slice(None)))
        inside = untiled(self.kernel)
        with torch.no_grad():
            if isinstance(inside, CombiningKernel):
                with ALONE:
                    found = _one_by_one(inside, train, bank, x, y, self.attack, progress, right)
            else:
                found = self._by_gradients(piece, train, bank, x, y, K, inner, right, progress)
        return torch.stack(found).numpy(force=True)

    def fits(self, found: object, piece: Piece) -> bool:
        return is_block(found, piece, 2)

    def _by_gradients(
        self,
        piece: Piece,
        x_train: Tensor,
        bank: Bank,
        x: Tensor,
        y: Tensor,
        K: Tensor,
        inner: Tensor,
        right: Tensor,
        progress: Progress | None,
    ) -> Verdicts:
        """By steps of signs where the kernel tells what these do, else by each image's own gradients."""
        train = self._once("prepared", None, lambda: prepared(self.kernel, x_train.float()))
        single = self._once("single", piece.columns, lambda: bank.to(torch.float32))
        tolerance = (DOUBT * self.scale * bank.size()).float()
        together, attack, around = _BankPredictor(self.kernel, train, single), self.attack, None

        if covers(bank, attack):
            weights = single.weights[:, :, 0]
            around = self._once("around", piece.rows, lambda: Expansion.of(self.kernel, train, x, weights))
        if around is not None:
            around = around.with_predictors(weights)
            found = sweep_by_signs(around, single, inner, right, y, attack, tolerance, progress)
            open_ = _decide_in_single(together, y, found.doubtful, tolerance, found.right_after)
            _decide_in_double(self.kernel, x_train, bank, y, open_, found.right_after)
            return found.right_after, found.stuck
        right_after, stuck = torch.zeros_like(right), torch.zeros_like(right)
        for i in range(len(x)):
            if progress is not None:
                progress(i, len(x), NOTE)
            b = right[i].nonzero().squeeze(1)
            if len(b) == 0:
                continue
            f = replace(together, bank=single[b])
            copies = x[i].float().expand(len(b), *x[i].shape)
            labels = y[i].float().expand(len(b), y.shape[1])
            first = f.at(x[i].float(), K[i]) if not attack.random_start else None
            z, stuck[i, b] = attack.perturb(f, copies, labels, attack.eps, first)
            attacked = f(z)
            right_after[i, b] = correct(attacked, labels)
            open_ = (~(margins(attacked, labels).abs() >= tolerance[b])).nonzero().squeeze(1)  # not a number: open
            doubtful = [(torch.full_like(open_, i), b[open_], z[open_])] if len(open_) else []
            _decide_in_double(self.kernel, x_train, bank, y, doubtful, right_after)
        return right_after, stuck

    def _once(self, name: str, of: slice | None, make: Callable[[], Any]) -> Any:
        """What was made for the same images or predictors before, or is made now."""
        if name not in self.kept or self.kept[name][0] != of:
            self.kept.pop(name, None)  # two of them would need twice the memory
            self.kept[name] = of, make()
        return self.kept[name][1]


def _decide_in_single(
    together: "_BankPredictor", y_test: Tensor, doubtful: Doubtful, tolerance: Tensor, verdicts: Tensor
) -> Doubtful:
    """By the kernel itself at the attacked images, what was left open; what is still open."""
    left: Doubtful = []
    for rows, predictors, images in _portions(doubtful):
        outputs = replace(together, bank=together.bank[predictors])(images)
        margin = margins(outputs, y_test[rows].float())
        verdicts[rows, predictors] = margin > 0
        open_ = ~(margin.abs() >= tolerance[predictors])  # not a number: open
        if open_.any():
            left.append((rows[open_], predictors[open_], images[open_]))
    return left


def _portions(doubtful: Doubtful) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    if doubtful:
        every = (torch.cat(part) for part in zip(*doubtful, strict=True))
        yield from zip(*(part.split(ROWS) for part in every), strict=True)


def _decide_in_double(
    kernel: KernelFunction,
    x_train: Tensor,
    bank: Bank,
    y_test: Tensor,
    doubtful: Doubtful,
    verdicts: Tensor,
) -> None:
    """In double precision, what single precision left open."""
    for rows, predictors, images in _portions(doubtful):
        exact = bank[predictors].outputs(in_double(kernel, images, x_train))
        verdicts[rows, predictors] = correct(exact, y_test[rows].double())


def _one_by_one(
    kernel: CombiningKernel,
    x_train: Tensor,
    bank: Bank,
    x_test: Tensor,
    y_test: Tensor,
    attack: Attack,
    progress: Progress | None,
    right_before: Tensor,
) -> Verdicts:
    """The bank's predictors in turn, each at all images it has right: for kernels of finite nets, whose predictors are
    cheap and whose kernel blocks are not. All of it in float32."""
    right_after, stuck = torch.zeros_like(right_before), torch.zeros_like(right_before)
    x, y = x_test.float(), y_test.float()
    for b in range(len(bank)):
        if progress is not None:
            progress(b, len(bank), NOTE)
        one = bank[b : b + 1].to(torch.float32)
        right = right_before[:, b].nonzero().squeeze(1)
        f = _read(one, kernel.combine(x_train.float(), one.weights[0]))
        for rows in right.split(ROWS) if len(right) else ():
            z, stuck[rows, b] = attack.perturb(f, x[rows], y[rows], attack.eps)
            right_after[rows, b] = correct(f(z), y[rows])
    return right_after, stuck


def _read(one: Bank, combined: Predictor) -> Predictor:
    """A bank's one predictor of its inner values, [m, C, H, W] -> [m, r] -> [m, c]."""
    return lambda z: one.read(combined(z)[:, None])[:, 0]


@plain
def bank_gradients(
    kernel: KernelFunction,
    x_train: Tensor,
    bank: Bank,
    x_test: Tensor,
    y_test: Tensor,
    K_test: Tensor,
    progress: Progress | None = None,
) -> Tensor:
    """The loss gradient of every predictor of the bank at every test image, [B, m, C, H, W] float32.

    Arguments as in ``attack_bank``; the kernel must know its gradient (``pair_gradients``).
    """
    together = _BankPredictor(kernel, prepared(kernel, x_train.float()), bank.to(torch.float32))
    gradients = []
    for i in range(len(x_test)):
        if progress is not None:
            progress(i, len(x_test), "gradients at the test images")
        x = x_test[i].float()
        copies = x.expand(len(bank), *x.shape)
        linear = together.at(x, K_test[i])
        assert linear is not None  # such a kernel is asked for
        gradients.append(loss_gradient(linear, copies, y_test[i].float().expand(len(bank), -1)))
    return torch.stack(gradients, 1)


@dataclass(frozen=True, eq=False)
class _BankPredictor:
    """A bank as one predictor of B images, image b going to predictor b, and its value and gradient at one image."""

    kernel: KernelFunction
    x_train: Images
    bank: Bank

    def __call__(self, z: Tensor) -> Tensor:
        """z [B, C, H, W] -> outputs [B, c]."""
        return self.bank.outputs(of_prepared(self.kernel, z, self.x_train))

    def at(self, x: Tensor, k: Tensor) -> Predictor | None:
        """A predictor with the value and gradient of this one at B copies of x; k [n] is K(x, X)."""
        inside = untiled(self.kernel)
        if not isinstance(inside, DifferentiatingKernel):
            return None
        bank = self.bank
        rows = bank.weights.transpose(1, 2)  # [B, r, n]
        g0 = rows @ k.float()  # [B, r]
        J = inside.pair_gradients(x, self.x_train).flatten(1)  # [n, d]

        def linear(z: Tensor) -> Tensor:
            return bank.read(g0 + torch.einsum("brn,bn->br", rows, _Rise.apply((z - x).flatten(1), J)))

        return linear


class _Rise(torch.autograd.Function):
    """By how much every pair's kernel rises along steps [B, d] of gradients J [n, d], for steps of 0: [B, n].

    Backwards the r outputs of a predictor are summed before the product with J, which so costs no more than for one.
    """

    @staticmethod
    def forward(ctx: Any, steps: Tensor, J: Tensor) -> Tensor:
        ctx.save_for_backward(J)
        return steps.new_zeros(len(steps), len(J))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (J,) = ctx.saved_tensors
        return gradient @ J, None


def _spread(y: Tensor, predictors: int) -> Tensor:
    """Labels [m, c] repeated for every predictor: [m B, c]."""
    return y[:, None].expand(-1, predictors, -1).flatten(0, 1)
