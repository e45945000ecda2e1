"""Training finite networks by gradient descent, as a generator of checkpoints: to stop is to stop iterating.

Squared loss ``L = 1/(2n) sum_i |f(x_i) - y_i|^2`` or cross-entropy (logistic for one output), heavy-ball momentum as
``torch.optim.SGD`` has it: ``v <- mu v + grad L``, ``w <- w - lr v``. With squared loss, all images in each step and
``f - f_0`` in place of f, a wide net in NTK parameterisation stays close to the kernel predictor pushed through the
same recursion (Jacot et al. 2018; Lee et al. 2019): the lazy regime::

    net = finite_net(fc(1).module(shape, width=512), inputs, centred=True)      # module(inputs(x)) - that at step 0
    for checkpoint in train(net, x, y, LAZY, unit=n / lam_max):     # lr of LAZY is counted in units of n / lam_max
        checkpoint.step, checkpoint.loss                            # of the weights as they are now
    net(x_test)                                                     # [m, c], differentiable in x_test
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim.sgd import sgd

from ntkcore import checks
from ntkcore.errors import NTKError, SpecError
from ntkcore.kernels.inputs import RAW, InputMap
from ntkcore.looking import copy_of, in_words, modes_kept, predicted
from ntkcore.modes import plain, plain_modes
from ntkcore.validation import Spec

BLOWN_UP = 1e3  # times the first loss: beyond that a run is called diverged


class Descent(Spec):
    """Heavy-ball gradient descent on squared loss with all images in each step: what a kernel predictor can follow.

    lr: in units of ``n / lam_max`` of the kernel matrix; momentum; steps.
    """

    lr: float = Field(1.0, gt=0, le=1e6, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: int = Field(100, ge=0, le=1_000_000)


class Training(Spec):
    """How a finite net is trained: every field that changes the result, but the seed of its initial weights.

    loss: "squared" or "cross_entropy". lr: learning rate, in units of ``n / lam_max`` of the infinite net's kernel
    matrix ("kernel"), or as it is ("absolute"). momentum: mu above. steps: at most. until: stop when the loss is at or
    below this (0: never). batch: images a step, drawn epoch by epoch (None: all). centred: train ``f - f_0``.
    parameterisation: "ntk" or "standard" (see ``Net.module``).
    """

    loss: Literal["squared", "cross_entropy"] = "squared"
    lr: float = Field(1.0, gt=0, le=1e6, allow_inf_nan=False)
    lr_unit: Literal["kernel", "absolute"] = "kernel"
    momentum: float = Field(0.9, ge=0, lt=1)
    steps: int = Field(100, ge=0, le=1_000_000)
    until: float = Field(0.0, ge=0, allow_inf_nan=False)
    batch: int | None = Field(None, ge=1, lt=2**31)
    centred: bool = True
    parameterisation: Literal["ntk", "standard"] = "ntk"

    @model_validator(mode="after")
    def _units(self) -> "Training":
        if self.parameterisation == "standard" and self.lr_unit == "kernel":
            raise ValueError(
                "A net in standard parameterisation has a kernel of another size, so its learning rate cannot be "
                "counted in units of the infinite net's kernel. Set lr_unit to 'absolute'."
            )
        return self

    @property
    def descent(self) -> Descent | None:
        """The steps that a kernel predictor can be pushed through as well; None when it cannot follow.

        A net that stops earlier, at the loss ``until``, has done fewer of them.
        """
        lazy = self.centred and self.parameterisation == "ntk" and self.lr_unit == "kernel"
        if self.loss != "squared" or self.batch is not None or not lazy:
            return None
        return Descent(lr=self.lr, momentum=self.momentum, steps=self.steps)

    def __str__(self) -> str:
        size = "all images" if self.batch is None else f"batches of {self.batch}"
        rate = f"lr {self.lr:g}" + (" n/λmax" if self.lr_unit == "kernel" else "")
        stop = f" or loss {self.until:g}" if self.until else ""
        loss = self.loss.replace("_", "-")
        head = f"{self.parameterisation if self.parameterisation == 'standard' else 'NTK'} parameterisation, {loss}"
        shift = ", f - f_0" if self.centred else ""
        return f"{head}, {rate}, momentum {self.momentum:g}, {size}, {self.steps} steps{stop}{shift}"


LAZY = Training()
PLAIN = Training(
    loss="cross_entropy",
    lr=0.05,
    lr_unit="absolute",
    steps=600,
    batch=50,
    centred=False,
    parameterisation="standard",
)


@dataclass(frozen=True, eq=False)
class FiniteNet:
    """A finite network as a predictor: x [m, C, H, W] in pixel units -> [m, c], float32, differentiable in x.

    module: what is trained. inputs: the fixed map of the pixels. base: a copy of the module as it was at the start,
    whose output is subtracted (centred form); None for none. A prediction is that of evaluation mode, whatever mode the
    module is in (each image on its own, BatchNorm with its running statistics, no dropout), and leaves the module as it
    was. Raises SpecError for a module whose weights are not float32, or whose output is drawn anew at each call.
    """

    module: nn.Module
    inputs: InputMap = RAW
    base: nn.Module | None = None

    def __post_init__(self) -> None:
        checks.module(self.module)
        checks.instance(self.inputs, InputMap, "inputs", "input_map(name, x_train) makes one.")

    @plain
    def __call__(self, x: Tensor) -> Tensor:
        checks.image_form(x, axes=None)
        out = predicted(self.module, self.seen(x))
        return out if self.base is None else out - predicted(self.base, self.seen(x))

    def seen(self, x: Tensor) -> Tensor:
        """What the module gets of images: never their own memory, into which some modules write."""
        z = self.inputs(x.float())
        return z.clone() if z is x else z


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The net with the weights of this step (the net itself, not a copy), and their loss on the images of the step."""

    step: int
    loss: float
    net: FiniteNet


def finite_net(module: nn.Module, inputs: InputMap = RAW, centred: bool = False) -> FiniteNet:
    """``module`` as a predictor; centred: its present output is subtracted from now on."""
    checks.truth(centred, "centred")
    checks.module(module)
    base = None
    if centred:
        base = copy_of(checks.initialised(module))
        for p in base.parameters():
            p.requires_grad_(p.requires_grad and not p.is_leaf)
    return FiniteNet(module, inputs, base)


def train(
    net: FiniteNet, x: Tensor, y: Tensor, recipe: Training, unit: float | None = None, seed: int = 0
) -> Iterator[Checkpoint]:
    """Train ``net`` in place on x [n, C, H, W], y [n, c], yielding before every step and once at the end.

    y: labels, [n, 1] of -1 and +1 or one-hot, for cross-entropy; any finite numbers for squared loss. unit: ``n /
    lam_max``, what a learning rate of unit "kernel" is counted in. seed: of the order of the batches. Runs in float32;
    the same seed gives the same weights bit for bit on one machine with as many threads. A step is taken in training
    mode; at a checkpoint the module is in the mode it was given in. Frozen weights stay as they are.
    Raises SpecError at once for images, labels or numbers that are not such, when the unit is missing, the net is not
    centred as the recipe says or nothing in it can be trained; NTKError when the loss diverges.
    """
    checks.instance(recipe, Training, "recipe", "Training(...) makes one; LAZY and PLAIN are two.")
    x, y = learned_from(net, x, y, recipe.loss)
    seed = checks.seed(seed)
    if recipe.centred != (net.base is not None):
        wanted = "finite_net(..., centred=True)" if recipe.centred else "finite_net(..., centred=False)"
        raise SpecError(f"This recipe has centred={recipe.centred}, the net not: make it with {wanted}.")
    if recipe.lr_unit == "kernel" and unit is None:
        raise SpecError("This learning rate is counted in n / lam_max of a kernel; give that number as unit.")
    unit = 1.0 if unit is None else checks.number(unit, "unit", above=0)
    checks.trainable(net.module, x.float())
    return _steps(net, x, y, recipe, recipe.lr * (unit if recipe.lr_unit == "kernel" else 1.0), seed)


@plain
def learned_from(net: FiniteNet, x: Tensor, y: Tensor, loss: str, attacked: bool = False) -> tuple[Tensor, Tensor]:
    """Images and labels that a net is trained on, checked at the door of a training; attacked: an adversary moves them.

    Squared loss on clean images takes any finite numbers for y.
    """
    checks.instance(net, FiniteNet, "net", "finite_net(module) makes one.")
    x = checks.images(x, pixels=attacked).detach()
    y = checks.targets(y, len(x)) if loss == "squared" and not attacked else checks.labels(y, len(x))
    return x, y.to(x.device)


def _steps(net: FiniteNet, x: Tensor, y: Tensor, recipe: Training, lr: float, seed: int) -> Iterator[Checkpoint]:
    with plain_modes(), torch.no_grad():
        z, y = net.inputs(x.float()), y.float()
        start = None if net.base is None else predicted(net.base, z.clone())
    velocities: dict[str, Tensor] = {}
    batches = _batches(len(x), recipe.batch, seed, x.device)
    first = None
    for step in range(recipe.steps + 1):
        rows = next(batches)
        with learning(net.module), in_words(z):
            outputs = net.module(z[rows].clone())  # a clone: some modules write into their input
            if start is not None:
                outputs = outputs - start[rows]
            value = training_loss(outputs, y[rows], recipe.loss)
        loss = float(value.detach())
        first = loss if first is None else first
        if not loss <= BLOWN_UP * max(first, 1e-3):  # also when it is not a number
            raise NTKError(
                f"The training diverged: at step {step} the loss is {loss:.3g}, at the start it was {first:.3g}. "
                f"Choose a smaller learning rate than {recipe.lr:g}."
            )
        yield Checkpoint(step, loss, net)
        if step == recipe.steps or loss <= recipe.until:
            return
        with learning(net.module):
            descend(net.module, value, velocities, lr, recipe.momentum)


def descend(module: nn.Module, loss: Tensor, velocities: dict[str, Tensor], lr: float, momentum: float) -> None:
    """A step of ``torch.optim.SGD`` down the loss; velocities: of the weights by name, moved along.

    The class itself would import torch's compiler, a second of a processor in each process that trains.
    """
    module.zero_grad()
    loss.backward()
    named = {name: (p, p.grad) for name, p in module.named_parameters() if p.grad is not None}
    moved = [velocities.get(name) for name in named]
    with torch.no_grad():
        sgd(
            [p for p, _ in named.values()],
            [gradient for _, gradient in named.values()],
            moved,
            weight_decay=0.0,
            momentum=momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
    velocities |= {name: v for name, v in zip(named, moved, strict=True) if v is not None}


@contextmanager
def learning(module: nn.Module) -> Iterator[None]:
    """Inside, ``module`` is in training mode and gradients are recorded; afterwards it is in the mode it was in."""
    with plain_modes(), torch.enable_grad(), modes_kept(module):
        module.train()
        yield


def training_loss(outputs: Tensor, y: Tensor, loss: str) -> Tensor:
    """Mean loss over the images: outputs, y [n, c]. Squared: ``1/(2n) sum |f - y|^2``; else logistic or softmax."""
    checks.answer_form(outputs, y.shape, "The net's output")
    if loss == "squared":
        return (outputs - y).square().sum() / (2 * len(y))
    if y.shape[1] == 1:
        return F.softplus(-outputs * y).mean()
    return -(torch.log_softmax(outputs, -1) * y).sum(-1).mean()


def _batches(n: int, size: int | None, seed: int, device: torch.device) -> Iterator[slice | Tensor]:
    """Rows of each step: all of them, or epoch by epoch in a random order (the last batch of an epoch is shorter)."""
    if size is None or size >= n:
        while True:
            yield slice(None)
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from (rows.to(device) for rows in torch.randperm(n, generator=generator, device="cpu").split(size))
