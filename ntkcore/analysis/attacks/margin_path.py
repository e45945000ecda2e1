"""One image under growing attacks: the margin along eps, and the smallest eps that flips the prediction.

For each radius the attack is run anew (its step size scaled along), FGSM and PGD side by side; the smallest flipping
radius is bracketed on the grid and bisected. It is an upper bound of the true distance to the boundary::

    path = margin_along_eps(f, image, label, fgsm(), radii)
    path.margins                    # [P]
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
    """eps [P] (ascending, from 0), margins [P] after an attack of each radius, x_adv [P, C, H, W].

    flip_eps: the smallest radius found that makes the prediction wrong (0 when it is wrong unattacked, inf when no
    radius up to the largest does). zero_gradient: the attack had nothing to follow at this image.
    """

    eps: Tensor
    margins: Tensor
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

    def at(radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = image.expand(len(radii), *image.shape)
        y = label.expand(len(radii), *label.shape)
        z, stuck = attack.perturb(f, x, y, radii)
        with torch.no_grad():
            return margins(checks.answers(f(z), y.shape, "f(x)"), y), z, stuck

    found, x_adv, stuck = at(eps)
    wrong = (found <= 0).nonzero().squeeze(1)
    flip = float("inf")
    if len(wrong):
        high = int(wrong[0])
        flip = float(eps[high])
        low = float(eps[high - 1]) if high else flip
        for _ in range(BISECTIONS if high else 0):
            middle = (low + flip) / 2
            if float(at(torch.tensor([middle], dtype=eps.dtype, device=eps.device))[0][0]) <= 0:
                flip = middle
            else:
                low = middle
    return MarginPath(eps, found, x_adv, flip, bool(stuck.all()))


def _radii(eps: Tensor) -> Tensor:
    fits = checks.tensor(eps, "eps").ndim == 1 and len(eps) > 0 and eps.is_floating_point()
    if not fits or not (torch.isfinite(eps).all() and (eps >= 0).all() and (eps.diff() >= 0).all()):
        raise SpecError(
            "eps must be ascending radii in pixel units, a float tensor [P]. torch.linspace(0, 0.2, 25) makes one."
        )
    return eps
