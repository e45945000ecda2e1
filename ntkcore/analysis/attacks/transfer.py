"""Attacks that transfer: perturbations made through one model and judged by another.

Any predictor (a kernel's, a finite net's) can be source and target. Accuracy is that of the target on the images the
source has perturbed; the transfer rate is the share of the points the target had right that turn wrong; the
*recovered share* is the accuracy lost to the source over the accuracy lost to the target's own white-box attack
(Tsilivis & Kempe 2022, section 3; Papernot et al. 2016)::

    p = perturb_along(f, x, y, fgsm(8 / 255), (2 / 255, 8 / 255))        # f: the kernel, no net was trained
    v = judge(net, x, p.x_adv, y)                                        # net: any predictor
    v.accuracy, v.rate, recovered(v, white_box)                          # [E] each
    gradient_cosine(p.gradient, loss_gradient(net, x, y))                # [m]
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import PREDICTOR, Attack, Predictor, loss_gradient, scalable
from ntkcore.analysis.predict import correct
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import Progress, slices
from ntkcore.modes import plain
from ntkcore.validation import shown

ROWS = 100  # test images attacked together: bounds the memory of a gradient


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Test images perturbed through a source at E radii.

    x_adv [E, m, C, H, W]; gradient [m, C, H, W]: the source's loss gradient at the clean images; zero_gradient [m]:
    where it is exactly zero, so that the source could not attack.
    """

    x_adv: Tensor
    gradient: Tensor
    zero_gradient: Tensor


@dataclass(frozen=True, eq=False)
class Verdicts:
    """A target's verdicts on m images: right_before [m] clean, right_after [E, m] at each radius; and, where they are
    kept, its outputs: clean [m, c], attacked [E, m, c]."""

    right_before: Tensor
    right_after: Tensor
    clean: Tensor | None = None
    attacked: Tensor | None = None

    @property
    def accuracy(self) -> Tensor:
        """[E]: share of all images that are right under attack."""
        return self.right_after.double().mean(1)

    @property
    def clean_accuracy(self) -> float:
        return float(self.right_before.double().mean())

    @property
    def rate(self) -> Tensor:
        """[E]: transfer rate, the share of the images right before that turn wrong; nan when none was right."""
        return (self.right_before & ~self.right_after).double().sum(1) / self.right_before.double().sum()


@plain
def perturb_along(
    f: Predictor,
    x: Tensor,
    y: Tensor,
    attack: Attack,
    eps: Sequence[float],
    progress: Progress | None = None,
) -> Perturbation:
    """Attack f at images x [m, C, H, W] with labels y [m, c] at every radius of ``eps``; ``attack.eps`` sets only
    the ratio of step and radius. The gradient at the clean images is taken once and serves the first step of all.
    x in [0, 1]. Raises SpecError for images, labels or radii that are not such, for an attack of radius 0, which has no
    ratio, and for one with a random start.
    """
    x, y, eps = _attacked(f, x, y, eps)
    checks.progress(progress)
    if scalable(attack, max(eps)).random_start:
        raise SpecError(f"{attack} cannot be scaled to other radii. Give it no random start.")
    adversarial, gradients = [], []
    done, total = 0, len(x) * (1 + len(eps))

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total, "perturbing test images")

    report(0)
    for rows in slices(len(x), ROWS):
        z, labels = x[rows], y[rows]
        gradient = loss_gradient(f, z, labels)
        gradients.append(gradient)
        report(len(z))
        parts = []
        for radius in eps:
            parts.append(attack.perturb(f, z, labels, radius, _linear(z, labels, gradient))[0])
            report(len(z))
        adversarial.append(torch.stack(parts))
    gradient = torch.cat(gradients)
    return Perturbation(torch.cat(adversarial, 1), gradient, (gradient.flatten(1) == 0).all(1))


def sign_noise(x: Tensor, eps: Sequence[float], seed: int = 0) -> Tensor:
    """Random signs of size eps, the same signs at every radius, clipped to [0, 1]: [E, m, C, H, W].

    x [m, C, H, W] in [0, 1].
    """
    x, eps = checks.images(x, pixels=True).detach(), _radii(eps)
    generator = torch.Generator().manual_seed(checks.seed(seed))
    signs = torch.randint(0, 2, x.shape, generator=generator, device="cpu").to(x) * 2 - 1
    return torch.stack([(x + radius * signs).clamp(0, 1) for radius in eps])


@plain
def judge(f: Predictor, x: Tensor, x_adv: Tensor, y: Tensor) -> Verdicts:
    """The verdicts of f on x [m, C, H, W] and on x_adv [E, m, C, H, W] with labels y [m, c].

    Raises SpecError for images or labels that are not such, and for outputs that do not fit them or are not finite.
    """
    checks.function(f, "f", PREDICTOR)
    x = checks.images(x)
    y = checks.labels(y, len(x)).to(x.device)
    if checks.tensor(x_adv, "x_adv").shape[1:] != x.shape or len(x_adv) == 0:
        raise SpecError(f"x_adv has shape {tuple(x_adv.shape)}; [E, {', '.join(map(str, x.shape))}] is needed.")
    checks.images(x_adv.flatten(0, 1), "x_adv")
    with torch.no_grad():
        clean = checks.answers(f(x), y.shape, "f(x)")
        attacked = torch.stack([checks.answers(f(z), y.shape, "f(x_adv)") for z in x_adv])
    after = torch.stack([correct(outputs, y) for outputs in attacked])
    return Verdicts(correct(clean, y), after, clean, attacked)


def recovered(verdicts: Verdicts, white_box: Verdicts) -> Tensor:
    """[E]: accuracy lost to this source over the accuracy lost to the target's own attack; nan where that is none."""
    own = white_box.clean_accuracy - white_box.accuracy
    lost = verdicts.clean_accuracy - verdicts.accuracy
    return torch.where(own > 0, lost / torch.where(own > 0, own, 1.0), torch.nan)


def gradient_cosine(g1: Tensor, g2: Tensor) -> Tensor:
    """Cosine of two loss gradients image by image: g1, g2 [m, C, H, W] -> [m]; nan where one of them is zero."""
    a, b = (g.flatten(1).double() for g in (g1, g2))
    a, b = (v / v.abs().amax(1, keepdim=True).clamp(min=1e-300) for v in (a, b))  # squares of tiny numbers vanish
    cosine = F.cosine_similarity(a, b, dim=1)
    dead = (a == 0).all(1) | (b == 0).all(1)
    return torch.where(dead, torch.nan, cosine)


def _attacked(f: Predictor, x: Tensor, y: Tensor, eps: Sequence[float]) -> tuple[Tensor, Tensor, list[float]]:
    checks.function(f, "f", PREDICTOR)
    x = checks.images(x, pixels=True).detach()
    return x, checks.labels(y, len(x)).to(x.device), _radii(eps)


def _radii(eps: Sequence[float]) -> list[float]:
    if isinstance(eps, str) or not isinstance(eps, Iterable) or not (radii := list(eps)):
        raise SpecError(
            f"eps is {shown(eps)}; give one radius or more as a list, in pixel units, such as (2/255, 8/255)."
        )
    return [checks.number(radius, "A radius in eps", 0) for radius in radii]


def _linear(x: Tensor, y: Tensor, gradient: Tensor) -> Predictor:
    """A predictor whose loss has ``gradient`` at x: what the first step of an attack needs of f.

    The loss falls strictly with the margin, so outputs whose margin falls along ``gradient`` have its direction;
    steps are taken along signs or normalised gradients, for which the direction is all.
    """
    favour = y if y.shape[1] == 1 else y - 1 / y.shape[1]

    def linear(z: Tensor) -> Tensor:
        along = (gradient * (z - x)).flatten(1).sum(1, keepdim=True)  # <gradient, z - x>
        return -along * favour

    return linear
