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

from ntkcore.analysis.attacks import Attack, Predictor
from ntkcore.analysis.predict import margin
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
    """Attack ``image`` [C, H, W] with label [c] at every radius in ``eps`` [P] (pixel units, ascending)."""

    def at(radii: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = image.expand(len(radii), *image.shape)
        y = label.expand(len(radii), *label.shape)
        z, stuck = attack.perturb(f, x, y, radii)
        with torch.no_grad():
            return margin(f(z), y), z, stuck

    margins, x_adv, stuck = at(eps)
    wrong = (margins <= 0).nonzero().squeeze(1)
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
    return MarginPath(eps, margins, x_adv, flip, bool(stuck.all()))
