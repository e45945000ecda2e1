"""Stochastic gradient descent epoch by epoch, on clean images or on attacked ones, with checkpoints to resume from.

Cross-entropy (logistic for one output) or squared loss, heavy-ball momentum as ``torch.optim.SGD`` has it. Under
adversarial training every batch is replaced by what an adversary makes of it with the net as it is then (Goodfellow
et al. 2015; Madry et al. 2018). The order of the images is drawn from the seed and the number of the epoch, so that a
run that goes on from a checkpoint is the run that was never interrupted, bit for bit on one machine::

    net = finite_net(build("cnn-small", task.image_shape), inputs)
    for checkpoint in train_epochs(net, x, y, Schedule(lr=0.05), epochs=20, adversary=fgsm_adversary):
        checkpoint.epoch, checkpoint.loss             # of the weights as they are now; epoch 0 before any step
    start = Start(checkpoint.epoch, checkpoint.momentum)                  # with the weights: all that is to be kept
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ntkcore import checks
from ntkcore.errors import NTKError, SpecError
from ntkcore.kernels.blocks import Progress
from ntkcore.looking import in_words, predicted
from ntkcore.training.steps import BLOWN_UP, FiniteNet, descend, learned_from, learning, training_loss
from ntkcore.validation import Spec, shown

# (net, images [b, C, H, W] in pixel units, labels [b, c], draw) -> images of the same shape to train on instead; draw
# is another number at every step of a run, for what is random
Adversary = Callable[[FiniteNet, Tensor, Tensor, int], Tensor]


class Schedule(Spec):
    """How a net is trained, every field that changes the result: loss; lr as it is; momentum; batch, images a step
    (the last batch of an epoch is shorter); seed of the order."""

    loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    lr: float = Field(0.05, gt=0, le=1e6, allow_inf_nan=False)
    momentum: float = Field(0.0, ge=0, lt=1)
    batch: int = Field(50, ge=1, lt=2**31)
    seed: int = Field(0, ge=0, lt=2**31)

    def __str__(self) -> str:
        loss = self.loss.replace("_", "-")
        return f"SGD on {loss}, lr {self.lr:g}, momentum {self.momentum:g}, batches of {self.batch}"


@dataclass(frozen=True, eq=False)
class Start:
    """Where a run goes on: after this epoch, with the momentum v of each parameter by name ({} for none yet)."""

    epoch: int = 0
    momentum: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class EpochCheckpoint:
    """The net after an epoch (the net itself, not a copy) and its momentum by name.

    loss: mean over the epoch's steps, on the images that were trained on; NaN before the first step.
    """

    epoch: int
    loss: float
    net: FiniteNet
    momentum: dict[str, Tensor]


def train_epochs(
    net: FiniteNet,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    epochs: int,
    adversary: Adversary | None = None,
    start: Start | None = None,
    progress: Progress | None = None,
) -> Iterator[EpochCheckpoint]:
    """Train ``net`` in place on x [n, C, H, W] in pixel units, y [n, c], up to the end of epoch ``epochs``.

    y: labels, [n, 1] of -1 and +1 or one-hot; for squared loss without an adversary any finite numbers. With one, x
    must be in [0, 1]. Yields the net as it is at the start, then after each epoch. start: where it goes on (its weights
    are the net's).
    progress: told of every step within an epoch; it may raise ``Cancelled``, which leaves the net in mid-epoch.
    The adversary sees the net in evaluation mode (BatchNorm with its running statistics), steps are taken in training
    mode, and at a checkpoint the module is in the mode it was given in. Frozen weights stay as they are.
    Raises SpecError at once for images, labels or numbers that are not such and when nothing in the net can be trained,
    NTKError when the loss diverges.
    """
    checks.instance(schedule, Schedule, "schedule", "Schedule(...) makes one.")
    x, y = learned_from(net, x, y, schedule.loss, attacked=adversary is not None)
    start = checks.instance(Start() if start is None else start, Start, "start", "Start(epoch, momentum) makes one.")
    epochs = checks.whole(epochs, "epochs", 0, 1_000_000)
    checks.function(
        adversary, "adversary", "It maps (net, images, labels, draw) to images of their shape.", optional=True
    )
    checks.progress(progress)
    checks.trainable(net.module, x.float())
    names = [name for name, _ in net.module.named_parameters()]
    if strange := [name for name in start.momentum if name not in names]:
        raise SpecError(
            f"The net has no weights {shown(strange[0])}, of which there is a momentum; {names[0]!r} is one."
        )
    return _epochs(net, x, y, schedule, epochs, adversary, start, progress)


def _epochs(
    net: FiniteNet,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    epochs: int,
    adversary: Adversary | None,
    start: Start,
    progress: Progress | None,
) -> Iterator[EpochCheckpoint]:
    momentum = {name: v.clone() for name, v in start.momentum.items()}
    yield EpochCheckpoint(start.epoch, math.nan, net, momentum)
    for epoch in range(start.epoch + 1, epochs + 1):
        with learning(net.module):
            loss = _one_epoch(net, x, y, schedule, epoch, adversary, momentum, progress)
        yield EpochCheckpoint(epoch, loss, net, momentum)


def order(n: int, schedule: Schedule, epoch: int) -> tuple[Tensor, ...]:
    """Rows of each step of an epoch. One image that is left over joins the batch before it: BatchNorm needs two."""
    generator = torch.Generator().manual_seed(schedule.seed * 2**31 + epoch)
    *batches, last = torch.randperm(n, generator=generator, device="cpu").split(schedule.batch)
    if batches and len(last) == 1 < schedule.batch:
        last = torch.cat([batches.pop(), last])
    return (*batches, last)


def _one_epoch(
    net: FiniteNet,
    x: Tensor,
    y: Tensor,
    schedule: Schedule,
    epoch: int,
    adversary: Adversary | None,
    momentum: dict[str, Tensor],
    progress: Progress | None,
) -> float:
    """Mean loss over the steps; ``momentum`` is moved along."""
    batches, losses, y = order(len(x), schedule, epoch), [], y.float()
    for step, rows in enumerate(batches):
        if progress is not None:
            progress(step, len(batches), f"epoch {epoch}, step {step + 1} of {len(batches)}")
        rows = rows.to(x.device)
        images, labels = x[rows], y[rows]
        if adversary is not None:
            net.module.eval()
            images = adversary(net, images, labels, epoch * len(batches) + step)
            images = checks.image_form(images, "What the adversary gave", shape=x.shape[1:]).detach()
        net.module.train()
        value = training_loss(_outputs(net, images), labels, schedule.loss)
        losses.append(float(value.detach()))
        if not losses[-1] <= BLOWN_UP:  # also when it is not a number
            raise NTKError(
                f"The training diverged: in epoch {epoch} the loss is {losses[-1]:.3g}. "
                f"Choose a smaller learning rate than {schedule.lr:g}."
            )
        descend(net.module, value, momentum, schedule.lr, schedule.momentum)
    return sum(losses) / len(losses)


def _outputs(net: FiniteNet, images: Tensor) -> Tensor:
    """In the mode the module is in."""
    with in_words(images):
        try:
            out = net.module(net.seen(images))
        except ValueError as error:  # BatchNorm's, of one number a channel
            raise NTKError(
                f"This net cannot be trained on {len(images)} image{'s' * (len(images) > 1)} of this size a step: "
                f"{error}. Choose larger batches or larger images."
            ) from error
    return out if net.base is None else out - predicted(net.base, net.seen(images))
