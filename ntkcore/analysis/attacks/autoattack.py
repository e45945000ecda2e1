"""AutoAttack (Croce & Hein 2020) on any predictor: the strong attack that ours are measured against.

An optional extra, the package ``pyautoattack``: APGD on cross-entropy, FAB and (in ℓ∞) Square, one after the other
on what is still right. A predictor with one output is shown to it as two logits, (0, f), whose cross-entropy is our
logistic loss::

    if available():
        x_adv = autoattack(f, x, y, eps=8 / 255)         # [m, C, H, W]
"""

from importlib import import_module
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from ntkcore import checks
from ntkcore.analysis.attacks.attack import Predictor
from ntkcore.analysis.attacks.balls import Norm
from ntkcore.analysis.predict import class_numbers
from ntkcore.errors import optional
from ntkcore.modes import plain

PACKAGE = "pyautoattack"
ATTACKS = {"linf": ("apgd-ce", "fab", "square"), "l2": ("apgd-ce", "fab")}  # Square fails on small images in l2
QUERIES = 500  # of Square; AutoAttack's own 5000 change little once gradients have done their work


def available() -> bool:
    """Whether the package is installed."""
    return find_spec(PACKAGE) is not None


@plain
def autoattack(f: Predictor, x: Tensor, y: Tensor, eps: float, norm: Norm = "linf", seed: int = 0) -> Tensor:
    """Images x [m, C, H, W] with labels y [m, c] under AutoAttack: [m, C, H, W], unchanged where it did not succeed.

    Raises NTKError when the package is not there.
    """
    with optional(PACKAGE, "AutoAttack"):
        package = import_module(PACKAGE)
    x = checks.images(x, pixels=True)
    y = checks.labels(y, len(x))
    checks.choice(norm, "norm", tuple(ATTACKS))
    if (eps := checks.number(eps, "eps", 0)) == 0:
        return x.clone()
    labels = class_numbers(y)
    attack = package.AutoAttack(
        _Logits(f).eval(),
        attacks=list(ATTACKS[norm]),
        device=x.device,
        eps=eps,
        norm={"linf": "Linf", "l2": "L2"}[norm],
        seed=seed,
        version="custom",
    )
    attack.square.n_queries = QUERIES
    found = attack.run_standard_evaluation(x.float(), labels, batch_size=100)
    x_adv = found[0] if isinstance(found, tuple) else found
    return x_adv.to(x)


class _Logits(nn.Module):
    """A predictor as a module with one logit for each class."""

    def __init__(self, f: Predictor):
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        out = self.f(x).float()
        return torch.cat([torch.zeros_like(out), out], 1) if out.shape[1] == 1 else out
