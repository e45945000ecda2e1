"""The fixed affine map through which a kernel or a net sees pixels: ``u = (x - shift) / scale``.

``raw`` is the identity (the paper's choice), ``centre`` subtracts the training mean image, ``standardise`` also
divides by the global standard deviation of the centred training pixels. Attacks stay in pixel units and
differentiate through the map::

    inputs = input_map("centre", x_train)        # x_train [n, C, H, W]
    k = kernel_fn(fc(1), inputs=inputs)
    k(x_test, x_train)
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import SpecError
from ntkcore.modes import plain

InputMapName = Literal["raw", "centre", "standardise"]


@dataclass(frozen=True, eq=False)
class InputMap:
    """``u = (x - shift) / scale`` with ``shift`` [C, H, W] (or None for no shift) and a positive float ``scale``.

    A shift [C, 1, 1], one number a channel, fits images of every size.
    """

    shift: Tensor | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", checks.number(self.scale, "scale", above=0))
        if self.shift is not None:  # a copy: the map stays what it was made as
            object.__setattr__(self, "shift", checks.image(self.shift, "shift").detach().clone())

    def __call__(self, x: Tensor) -> Tensor:
        """x [n, C, H, W] in pixel units -> mapped images of the same shape and dtype."""
        if self.shift is not None:
            shape = checks.image_form(x).shape[2:] if self.shift[0].numel() == 1 else self.shift.shape[1:]
            x = checks.image_form(x, shape=(len(self.shift), *shape)) - self.shift.to(x)
        return x if self.scale == 1.0 else x / self.scale


RAW = InputMap()


@plain
def input_map(name: InputMapName, x_train: Tensor) -> InputMap:
    """The map ``name`` fitted to the training images x_train [n, C, H, W].

    Raises SpecError for an unknown name, or for ``standardise`` on images that do not vary.
    """
    checks.choice(name, "inputs", ("raw", "centre", "standardise"))
    checks.images(x_train, "x_train")
    if name == "raw":
        return RAW
    mean = x_train.double().mean(0)
    if name == "centre":
        return InputMap(mean)
    std = torch.sqrt((x_train.double() - mean).square().mean()).item()
    if std == 0:
        raise SpecError("All training images are the same, so they cannot be standardised. Choose 'raw' or 'centre'.")
    return InputMap(mean, std)
