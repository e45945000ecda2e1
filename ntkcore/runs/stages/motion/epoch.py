"""The stage of an epoch: the checkpoint of a net in training after it, and nets made of checkpoints again.

A checkpoint names a run and an epoch, not how long the run will be: a longer run begins with a shorter one's
checkpoints, and a run that was stopped goes on where it stopped::

    spec = EpochSpec.at(RunSpec(data=DataSpec(n_train=500), net=NamedNet(name="cnn-small"), attack=fgsm()), 10)
    net = load_checkpoint(spec, context)                 # FiniteNet: x -> [m, c]
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.architectures import build
from ntkcore.data import DataSpec
from ntkcore.kernels import input_map
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.nets import RunSpec, TwinNet
from ntkcore.runs.stages.phrases import data_in_words
from ntkcore.runs.stages.sizes import LINEAR, Estimate, NetSize, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec, key
from ntkcore.training import Adversary, FiniteNet, Linearised, Start, finite_net, train_epochs

WEIGHT, MOMENTUM = "weight.", "momentum."  # how the names of arrays of a checkpoint begin


class EpochSpec(StageSpec):
    """A checkpoint: weights and momentum after this epoch, and the mean training loss within it."""

    stage: ClassVar[str] = "epoch"
    version: ClassVar[int] = 2  # 2: an image that is left over joins the batch before it
    of_nets: ClassVar[bool] = True
    run: RunSpec = RunSpec()
    epoch: int = Field(0, ge=0, le=100_000)

    @model_validator(mode="after")
    def _one_name(self) -> "EpochSpec":
        if self.run.linear_from is not None and self.epoch <= self.run.linear_from:
            raise ValueError(
                f"Epoch {self.epoch} comes before the net is linearised (after {self.run.linear_from}); it is the "
                "checkpoint of the run without linear_from."
            )
        return self

    @classmethod
    def at(cls, run: RunSpec, epoch: int) -> "EpochSpec":
        """The checkpoint of a run after an epoch, by its one name: up to ``linear_from`` it is that of the run without
        it, and before any epoch nothing has been attacked yet."""
        if run.linear_from is not None and epoch <= run.linear_from:
            run = run.replace(linear_from=None)
        return cls(run=run.replace(attack=None) if epoch == 0 else run, epoch=epoch)

    @property
    def data(self) -> DataSpec:
        return self.run.data

    def reads(self) -> tuple[StageSpec, ...]:
        before = [EpochSpec.at(self.run, self.epoch - 1)] if self.epoch else []
        return (*before, *anchor_of(self))

    def compute(self, context: Context) -> Arrays:
        """One epoch of training from the checkpoint before it; what is missing on the way there is trained first."""
        run = self.run
        if self.epoch == 0:
            return _weights(fresh(run, context), {}, np.nan)
        reached = self.epoch - 1
        while reached > 0 and not _has(EpochSpec.at(run, reached), context):
            reached -= 1
        for epoch in range(reached + 1, self.epoch):  # one after the other: each finds the one before it in the store
            context.get(EpochSpec.at(run, epoch), ((epoch - 1) / self.epoch, epoch / self.epoch))
        before = context.get(EpochSpec.at(run, self.epoch - 1), (0.0, 0.0)).arrays
        net = restored(run, before, context)
        prefix = "net." if isinstance(net.module, Linearised) else ""
        momentum = {prefix + name: context.put(v) for name, v in named_arrays(before, MOMENTUM).items()}
        task = context.task(self.data)
        x, y = context.put(task.x_train), context.put(task.y_train)
        start = Start(self.epoch - 1, momentum)
        report = context.report(((self.epoch - 1) / self.epoch, 1.0))
        adversary = None if run.attack is None else _adversary(run.attack)
        *_, last = train_epochs(net, x, y, run.schedule, self.epoch, adversary, start, report)
        return _weights(net, {name.removeprefix(prefix): v for name, v in last.momentum.items()}, last.loss)

    def cost(self, rates: Rates) -> Estimate:
        size, attack = NetSize.of_run(self.run), self.run.attack
        images = 3 * self.data.n_train * (1 + (attack.steps if attack else 0)) if self.epoch else 1
        return passes(size, rates, images * self.pass_flops())

    def pass_flops(self) -> float:
        """Operations of one forward pass of one image."""
        return NetSize.of_run(self.run).flops * (1.0 if self.run.linear_from is None else LINEAR)

    def in_words(self) -> str:
        run = self.run
        words = [data_in_words(run.data, run.inputs), run.net.in_words(), run.how_trained(), f"epoch {self.epoch}"]
        return ", ".join(words)

    def experiment_fields(self) -> dict[str, Any]:
        return self.run.experiment_fields()


def anchor_of(spec: EpochSpec) -> tuple[EpochSpec, ...]:
    """Of a linearised run, the checkpoint that it is linearised around; else none."""
    run = spec.run
    return () if run.linear_from is None else (EpochSpec.at(run, run.linear_from),)


def load_checkpoint(spec: EpochSpec, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> FiniteNet:
    """The net of a checkpoint, in evaluation mode."""
    return restored(spec.run, context.get(spec, share).arrays, context)


def fresh(run: RunSpec, context: Context) -> FiniteNet:
    """The net of a run before any training, in evaluation mode."""
    task = context.task(run.data)
    outputs = task.y_train.shape[1]
    module: nn.Module
    if isinstance(run.net, TwinNet):
        form = run.net.parameterisation
        module = run.net.net.build().module(task.image_shape, run.net.width, outputs, run.seed, parameterisation=form)
    else:
        module = build(run.net.name, task.image_shape, outputs, run.seed, run.net.init)
    module = module.to(context.put(torch.zeros(())).device).to(memory_format=torch.channels_last)  # a fifth faster
    return finite_net(module.eval(), input_map(run.inputs, task.x_train))


def restored(run: RunSpec, arrays: Mapping[str, Tensor], context: Context) -> FiniteNet:
    """A net with the weights of a checkpoint; of a linearised run, around those of the epoch it was frozen after."""
    net = fresh(run, context)
    weights = {name: context.put(value) for name, value in named_arrays(arrays, WEIGHT).items()}
    if run.linear_from is None:
        net.module.load_state_dict(weights)
        return net
    anchor = context.get(EpochSpec.at(run, run.linear_from), (0.0, 0.0)).arrays
    net.module.load_state_dict({name: context.put(value) for name, value in named_arrays(anchor, WEIGHT).items()})
    linear = Linearised(net.module)
    linear.move(weights)
    return FiniteNet(linear.eval(), net.inputs)


def named_arrays(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin so, without that."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _weights(net: FiniteNet, momentum: dict[str, Tensor], loss: float) -> Arrays:
    module = net.module.net if isinstance(net.module, Linearised) else net.module
    arrays: Arrays = {f"{WEIGHT}{name}": v.detach().cpu().clone() for name, v in module.state_dict().items()}
    arrays |= {f"{MOMENTUM}{name}": v.detach().cpu().clone() for name, v in momentum.items()}
    return arrays | {"loss": np.array(loss)}


def _has(spec: EpochSpec, context: Context) -> bool:
    return context.store.get(spec.stage, key(spec)) is not None


def _adversary(attack: Attack) -> Adversary:
    """The attack as a training sees it: another random start at every step."""

    def perturb(net: FiniteNet, x: Tensor, y: Tensor, draw: int) -> Tensor:
        own = attack.replace(seed=attack.seed + draw) if attack.random_start else attack
        return own.perturb(net, x, y, attack.eps)[0]

    return perturb
