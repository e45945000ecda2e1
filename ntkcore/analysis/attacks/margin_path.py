"""One image under growing attacks: the margin along eps, and the smallest eps that flips the prediction.

For each radius the attack is run anew (its step size scaled along), FGSM and PGD side by side; the smallest flipping
radius is bracketed on the grid and bisected. It is an upper bound of the true distance to the boundary::

    path = margin_along_eps(f, image, label, fgsm(), radii)
    path.margins, path.x_adv        # [P], [P, C, H, W]: each as fgsm(radius)(f, image[None], label[None]) has it
    path.flip_eps                   # float, inf when nothing up to the largest radius flips it
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import PREDICTOR, Attack, Predictor, scalable
from ntkcore.analysis.predict import margins
from ntkcore.errors import SpecError
from ntkcore.modes import plain

BISECTIONS = 12


@dataclass(frozen=True, eq=False)
class MarginPath:
    """eps [P] (ascending, from 0); margins [P], outputs [P, c] and x_adv [P, C, H, W] after an attack of each radius.

    flip_eps: the smallest radius found that makes the prediction wrong (0 when it is wrong unattacked, inf when no
    radius up to the largest does). zero_gradient: the attack had nothing to follow at this image.
    """

    eps: Tensor
    margins: Tensor
    outputs: Tensor
    x_adv: Tensor
    flip_eps: float
    zero_gradient: bool


@plain
def margin_along_eps(f: Predictor, image: Tensor, label: Tensor, attack: Attack, eps: Tensor) -> MarginPath:
    """Attack ``image`` [C, H, W] with label [c] at every radius in ``eps`` [P] (pixel units, ascending).

    ``attack.eps`` sets only the ratio of step and radius. Raises SpecError for an image, a label or radii that are not
    such, and for outputs that do not fit the label or are not finite.
    """
    checks.function(f, "f", PREDICTOR)
    image, label = checks.image(image, pixels=True).detach(), checks.label(label)
    eps = _radii(eps)
    scalable(attack, float(eps[-1]))

    def perturbed(radii: Tensor) -> tuple[Tensor, Tensor]:
        x = image.expand(len(radii), *image.shape)
        return attack.perturb(f, x, label.expand(len(radii), *label.shape), radii)

    def at(radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if attack.random_start:  # the same draw for all, the one that a single image gets
            parts = [perturbed(radius[None]) for radius in radii]
            z, stuck = (torch.cat(part) for part in zip(*parts, strict=True))
        else:
            z, stuck = perturbed(radii)
        with torch.no_grad():
            return checks.answers(f(z), (len(radii), *label.shape), "f(x)"), z, stuck

    outputs, x_adv, stuck = at(eps)
    found = margins(outputs, label.expand_as(outputs))
    wrong = (found <= 0).nonzero().squeeze(1)
    flip = float("inf")
    if len(wrong):
        high = int(wrong[0])
        flip = float(eps[high])
        low = float(eps[high - 1]) if high else flip
        for _ in range(BISECTIONS if high else 0):
            middle = (low + flip) / 2
            turned = at(torch.tensor([middle], dtype=eps.dtype, device=eps.device))[0]
            if float(margins(turned, label[None])[0]) <= 0:
                flip = middle
            else:
                low = middle
    return MarginPath(eps, found, outputs, x_adv, flip, bool(stuck.all()))


def _radii(eps: Tensor) -> Tensor:
    fits = checks.tensor(eps, "eps").ndim == 1 and len(eps) > 0 and eps.is_floating_point()
    if not fits or not (torch.isfinite(eps).all() and (eps >= 0).all() and (eps.diff() >= 0).all()):
        raise SpecError(
            "eps must be ascending radii in pixel units, a float tensor [P]. torch.linspace(0, 0.2, 25) makes one."
        )
    return eps
