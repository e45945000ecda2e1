"""Adversarial attacks on anything that maps images to outputs: one loop, written once.

Gradient ascent on the logistic (binary) or softmax cross-entropy loss with true labels, projected onto the ball of
radius ``eps`` around the image and onto [0, 1]. FGSM (Goodfellow et al. 2015) is one step of size eps; PGD (Madry
et al. 2018) is several smaller ones. Pixel units throughout::

    attack = fgsm(eps=8 / 255)
    attack = pgd(eps=8 / 255, steps=10, step_size=2 / 255, norm="linf", random_start=True)
    result = attack(f, x, y)                  # f: x [m, C, H, W] -> [m, c], differentiable; y [m, c]
    result.x_adv, result.accuracy, result.zero_gradient_share
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.balls import BALLS, Norm, in_pixels
from ntkcore.analysis.predict import correct
from ntkcore.errors import Cancelled, NTKError, SpecError
from ntkcore.modes import plain
from ntkcore.validation import Spec

Predictor = Callable[[Tensor], Tensor]
PREDICTOR = "A predictor maps images [m, C, H, W] to outputs [m, c]; fit and finite_net make one."
MAKERS = "fgsm and pgd make one."


@dataclass(frozen=True, eq=False)
class AttackResult:
    """What an attack did to m images.

    x_adv [m, C, H, W]; clean and attacked: outputs [m, c] before and after; right_before, right_after: [m] bool;
    zero_gradient [m] bool: points where the loss gradient was exactly zero (or not finite) at the start of the
    attack, so that the attack could not move them: they must not count as robust in silence.
    """

    x_adv: Tensor
    clean: Tensor
    attacked: Tensor
    right_before: Tensor
    right_after: Tensor
    zero_gradient: Tensor

    @property
    def accuracy(self) -> float:
        """Share of images still right under attack."""
        return float(self.right_after.double().mean())

    @property
    def clean_accuracy(self) -> float:
        return float(self.right_before.double().mean())

    @property
    def flipped(self) -> Tensor:
        """Right before and wrong after: [m] bool."""
        return self.right_before & ~self.right_after

    @property
    def zero_gradient_share(self) -> float:
        return float(self.zero_gradient.double().mean())


class Attack(Spec):
    """A gradient attack: every field that changes its result, and nothing else.

    eps: radius in pixel units (images are in [0, 1]). steps: gradient steps. step_size: of each, pixel units.
    norm: "linf" (sign steps) or "l2" (normalised gradient steps). random_start: begin at a random point of the
    ball, drawn from ``seed``.
    """

    norm: Norm = "linf"
    eps: float = Field(8 / 255, ge=0, le=1e6, allow_inf_nan=False)
    steps: int = Field(1, ge=1, le=1000)
    step_size: float = Field(8 / 255, ge=0, le=1e6, allow_inf_nan=False)
    random_start: bool = False
    seed: int = Field(0, ge=0, lt=2**63)

    @property
    def one_step(self) -> bool:
        """Whether it is one gradient step from the image itself: FGSM, where that step is not cut short."""
        return self.steps == 1 and not self.random_start

    @model_validator(mode="after")
    def _pixel_units(self) -> "Attack":
        if self.norm == "linf" and self.eps > 1 + checks.ROUNDING:
            raise ValueError(
                f"eps is {self.eps:g}; pixels are in [0, 1], of which a radius of 1 reaches all. Give it in those "
                f"units: {self.eps:g} / 255 for grey levels."
            )
        return self

    @plain
    def __call__(self, f: Predictor, x: Tensor, y: Tensor, first: Predictor | None = None) -> AttackResult:
        """Attack f at images x [m, C, H, W] in [0, 1] with true labels y: [m, 1] of -1 and +1, or one-hot [m, c].

        f: x [m, C, H, W] -> [m, c], differentiable. Pixels that rounding put outside are set to the border.
        first: a cheaper predictor with the same value and gradient as f at x, used for the first step when the
        attack starts at x itself (the shared-gradient trick of ``ntkcore.analysis.features``).
        Success is judged again outside the loop, on f itself, after checking the ball and the range. Raises SpecError
        for images or labels that are not such, and for outputs that do not fit the labels or are not finite.
        """
        checks.function(f, "f", PREDICTOR)
        x = checks.images(x, pixels=True).detach()
        y = checks.labels(y, len(x)).to(x.device)
        with torch.no_grad():
            clean = checks.answers(f(x.clone()), y.shape, "f(x)")  # clones: f may write into what it is given
        x_adv, stuck = self.perturb(f, x, y, self.eps, first)
        self._judge_ball(x_adv, x)
        with torch.no_grad():
            attacked = checks.answers(f(x_adv.clone()), y.shape, "f at the attacked images")
        return AttackResult(x_adv, clean, attacked, correct(clean, y), correct(attacked, y), stuck)

    @plain
    def perturb(
        self, f: Predictor, x: Tensor, y: Tensor, eps: float | Tensor, first: Predictor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loop alone: adversarial images [m, C, H, W] and the mask [m] of zero gradients at the first step.

        Trusts x and y, as those do that train on what comes back and have checked them before.
        eps: one radius, or one per image [m]; the step size is scaled along when it differs from ``self.eps``.
        """
        radius = torch.as_tensor(eps, dtype=x.dtype, device=x.device).expand(len(x)).view(-1, 1, 1, 1)
        share = self.step_size / self.eps if self.eps > 0 else 0.0
        step = radius * share
        z = self._start(x, radius)
        stuck = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for i in range(self.steps):
            cheaper = first if i == 0 and not self.random_start else None
            gradient = loss_gradient(f if cheaper is None else cheaper, z, y)
            if i == 0:
                stuck = (gradient.flatten(1) == 0).all(1)
            z = project(z + step * _direction(gradient, self.norm), x, radius, self.norm)
        return z, stuck

    def _start(self, x: Tensor, radius: Tensor) -> Tensor:
        if not self.random_start:
            return x
        generator = torch.Generator().manual_seed(self.seed)
        if self.norm == "linf":
            noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device="cpu").to(x.device) * 2 - 1
        else:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device="cpu")
            length = torch.rand(len(x), 1, 1, 1, generator=generator, dtype=x.dtype, device="cpu") ** (1 / x[0].numel())
            noise = (noise / _norm(noise) * length).to(x.device)
        return (x + radius * noise).clamp(0, 1)

    def _judge_ball(self, x_adv: Tensor, x: Tensor) -> None:
        delta = (x_adv - x).flatten(1)
        size = delta.abs().amax(1) if self.norm == "linf" else delta.norm(dim=1)
        slack = self.eps * 1e-5 + 4 * torch.finfo(x.dtype).eps
        assert bool((size <= self.eps + slack).all()), "a perturbation left its ball"
        inside = (x_adv >= x.clamp(max=0)).all() and (x_adv <= x.clamp(min=1)).all()
        assert bool(inside), "a perturbed image left [0, 1]"

    def __str__(self) -> str:
        name = "FGSM" if self.one_step and self.step_size >= self.eps else "PGD"
        ball = BALLS[self.norm].sign
        many = "" if name == "FGSM" else f", {self.steps} steps of {in_pixels(self.step_size, self.norm)}"
        start = ", random start" if self.random_start else ""
        return f"{name} {ball} eps {in_pixels(self.eps, self.norm)}{many}{start}"


def fgsm(eps: float = 8 / 255, norm: Norm = "linf") -> Attack:
    """One gradient step of size eps: ``clip(x + eps sign(grad L), 0, 1)`` (Goodfellow et al. 2015)."""
    return Attack(norm=norm, eps=eps, steps=1, step_size=eps)


def pgd(
    eps: float = 8 / 255,
    steps: int = 10,
    step_size: float | None = None,
    norm: Norm = "linf",
    random_start: bool = False,
    seed: int = 0,
) -> Attack:
    """Projected gradient descent (Madry et al. 2018); step_size defaults to ``2.5 eps / steps``."""
    eps, steps = checks.number(eps, "eps", 0), checks.whole(steps, "steps", 1)
    size = 2.5 * eps / steps if step_size is None else step_size
    return Attack(norm=norm, eps=eps, steps=steps, step_size=size, random_start=random_start, seed=seed)


def scalable(attack: Attack, largest: float) -> Attack:
    """An attack whose step can grow with the radius, up to ``largest``: one of radius 0 has no ratio of the two."""
    checks.instance(attack, Attack, "attack", MAKERS)
    if attack.eps == 0 and largest > 0:
        raise SpecError(f"{attack} cannot be scaled to other radii. Give it an eps above 0.")
    return attack


def loss(outputs: Tensor, y: Tensor) -> Tensor:
    """Per-image loss [m]: logistic ``log(1 + exp(-y f))`` for binary labels, softmax cross-entropy for one-hot."""
    if y.shape[-1] == 1:
        return F.softplus(-(y * outputs).squeeze(-1))
    return -(torch.log_softmax(outputs, -1) * y).sum(-1)


@plain
def loss_gradient(f: Predictor, x: Tensor, y: Tensor) -> Tensor:
    """Gradient of the loss at each image with respect to its own pixels: [m, C, H, W].

    Raises NTKError when f is not differentiable in its input or its outputs are not of the labels' shape.
    """
    with torch.enable_grad():
        z = x.detach().clone().requires_grad_()
        try:
            outputs = checks.answer_form(f(z), y.shape, "f(x)")
            (gradient,) = torch.autograd.grad(loss(outputs, y).sum(), z)
        except (Cancelled, NTKError):
            raise
        except RuntimeError as error:
            raise NTKError(f"The predictor cannot be differentiated in its images: {error}") from error
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def project(z: Tensor, x: Tensor, radius: Tensor, norm: Norm) -> Tensor:
    """The nearest point of the eps-ball around x, then of [0, 1]."""
    if norm == "linf":
        z = torch.minimum(torch.maximum(z, x - radius), x + radius)
    else:
        delta = z - x
        z = x + delta * torch.clamp(radius / _norm(delta).clamp(min=1e-30), max=1.0)
    return z.clamp(0, 1)


def _direction(gradient: Tensor, norm: Norm) -> Tensor:
    if norm == "linf":
        return gradient.sign()
    # scaled by the largest entry first, so that the squares of tiny gradients do not underflow
    gradient = gradient / gradient.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
    return gradient / _norm(gradient).clamp(min=1e-30)


def _norm(delta: Tensor) -> Tensor:
    return delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
