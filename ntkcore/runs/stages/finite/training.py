"""The stages of nets that are trained at once: a kernel's own finite twin, and networks that have no infinite twin.

Weights are artifacts; a net is made again from its spec (whose seed gives the initial weights) and its weights::

    artifact = result(experiment.twin(width=512), store)         # weight.* arrays, loss, steps, cosine
    f = experiment.twin(width=512).load(context)                 # FiniteNet: x -> [m, c]
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from ntkcore.analysis.attacks.attack import loss_gradient
from ntkcore.analysis.attacks.transfer import gradient_cosine
from ntkcore.analysis.predict import accuracy
from ntkcore.architectures import ARCHITECTURES, Init, build
from ntkcore.data import DataSpec, Task
from ntkcore.kernels import input_map
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.finite.models import KernelModel
from ntkcore.runs.stages.finite.path import PathSpec
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec
from ntkcore.runs.stages.motion.epoch import WEIGHT, named_arrays
from ntkcore.runs.stages.nets import ArchitectureName, NamedNet
from ntkcore.runs.stages.phrases import data_in_words, unusual
from ntkcore.runs.stages.sizes import NET_SLOWER, OVERHEAD, Estimate, NetSize
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.training import LAZY, PLAIN, Checkpoint, Descent, FiniteNet, Training, finite_net, train


class TrainedSpec(StageSpec):
    """What every net in training has: the kernel it is compared with, a seed and a recipe."""

    of_nets: ClassVar[bool] = True
    kernel: KernelSpec
    seed: int
    training: Training

    @property
    def data(self) -> DataSpec:
        return self.kernel.data

    @property
    def comparable(self) -> KernelModel:
        """The kernel predictor that this net is compared with: after the same steps where it can follow them, else
        at the end of a lazy training."""
        return KernelModel(kernel=self.kernel, descent=self._descent())

    def _descent(self) -> Descent:
        return self.training.descent or Descent()

    def untrained(self, image_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """The net with its first weights."""
        raise NotImplementedError

    def size(self) -> NetSize:
        raise NotImplementedError

    def model_name(self) -> str:
        """In words, without its data."""
        raise NotImplementedError

    def group(self) -> str:
        """What nets that differ in their seed alone have in common, short: "width 512"."""
        raise NotImplementedError

    def short_name(self) -> str:
        """``model_name`` without how it was trained."""
        return self.model_name().split(", trained")[0]

    def needs(self) -> tuple[StageSpec, ...]:
        return (self,)

    def load(self, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> FiniteNet:
        """The net with the weights of its training."""
        weights = named_arrays(context.get(self, share).arrays, WEIGHT)
        net = self._fresh(context.task(self.data), context)
        net.module.load_state_dict({name: context.put(value) for name, value in weights.items()})
        return net

    def _fresh(self, task: Task, context: Context) -> FiniteNet:
        module = self.untrained(task.image_shape, task.y_train.shape[1])
        module = module.to(context.put(torch.zeros(())).device)
        return finite_net(module, input_map(self.kernel.inputs, task.x_train), centred=self.training.centred)

    def _path(self) -> PathSpec | None:
        """The kernel predictor's gradients that the net's are compared with on the way."""
        steps, descent = checkpoint_steps(self.training.steps), self._descent()
        compared = steps if self.training.descent else (descent.steps,)
        return PathSpec.along(self.kernel, descent, compared) if steps else None

    def reads(self) -> tuple[StageSpec, ...]:
        path = self._path()
        return (SpectrumSpec.usual(self.kernel), *(() if path is None else (path,)))

    def compute(self, context: Context) -> Arrays:
        """Train, and compare the net's loss gradients with the kernel predictor's on the way.

        A kernel that can follow the training is compared after the same steps, another one as it is.
        """
        recipe, task = self.training, context.task(self.data)
        s = context.get(SpectrumSpec.usual(self.kernel), (0.0, 0.1)).arrays["values"]
        steps, along = checkpoint_steps(recipe.steps), self._path()
        if along is not None:
            path = context.get(along, (0.1, 0.3)).arrays["gradients"].expand(len(steps), *task.x_test.shape)
        net = self._fresh(task, context)
        x, y = context.put(task.x_train), context.put(task.y_train)
        x_test, y_test = context.put(task.x_test), context.put(task.y_test)
        losses, cosines, seen = [], [], []
        for checkpoint in _reported(train(net, x, y, recipe, task.n / float(s[0]), self.seed), recipe.steps, context):
            losses.append(checkpoint.loss)
            if checkpoint.step in steps:
                own = loss_gradient(net, x_test, y_test).cpu()
                cosines.append(gradient_cosine(own, path[steps.index(checkpoint.step)]))
                seen.append(checkpoint.step)
        state = net.module.state_dict().items()
        arrays: Arrays = {f"{WEIGHT}{name}": value.detach().cpu().clone() for name, value in state}
        with torch.no_grad():
            arrays["train_accuracy"] = np.array(accuracy(net(x), y))
            arrays["test_accuracy"] = np.array(accuracy(net(x_test), y_test))
        arrays["loss"] = np.array(losses)  # [steps done + 1], the first before any step
        arrays["cosine"] = torch.stack(cosines) if cosines else torch.zeros(0, task.m)  # [P, m]
        arrays["cosine_steps"] = np.array(seen, dtype=np.int64)
        return arrays

    def cost(self, rates: Rates) -> Estimate:
        size, n, m = self.size(), self.data.n_train, self.data.n_test
        images = self.training.steps * (n if self.training.batch is None else self.training.batch)
        # a step needs no gradient of the images; ten looks at the gradients on the way do
        work = images * (3.0 * size.flops - size.first) + 10 * m * 3.0 * size.flops
        return Estimate(work * rates.flop32 * NET_SLOWER + OVERHEAD, size.bytes(n))

    def cost_of_passes(self, rates: Rates, count: float) -> Estimate:
        size = self.size()
        seconds = self.data.n_test * count * size.flops * rates.flop32 * NET_SLOWER
        return Estimate(seconds + OVERHEAD, size.bytes(100))

    def in_words(self) -> str:
        return f"{data_in_words(self.data, self.kernel.inputs)}, {self.model_name()}"

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields()


class TwinSpec(TrainedSpec):
    """A finite net of the kernel's own architecture, trained: its weights, its loss along the steps, and the cosine
    of its loss gradient with the kernel predictor's on the way."""

    stage: ClassVar[str] = "twin"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()
    width: int = Field(512, ge=1, le=65536)
    seed: int = Field(0, ge=0, lt=2**31)
    training: Training = LAZY

    def untrained(self, image_shape: tuple[int, ...], outputs: int) -> nn.Module:
        net, form = self.kernel.net.build(), self.training.parameterisation
        return net.module(image_shape, self.width, outputs, self.seed, parameterisation=form)

    def group(self) -> str:
        return f"width {self.width}"

    def size(self) -> NetSize:
        return NetSize.of_twin(self.kernel.net, self.width, self.data)

    def model_name(self) -> str:
        """ "FC(1) of width 512, seed 0, trained: ..."."""
        net = ", ".join(self.kernel.net.in_words())
        words = [f"{net} of width {self.width}", *unusual(self.kernel, "kind", "precision"), f"seed {self.seed}"]
        return ", ".join([*words, f"trained: {self.training}"])


class NetworkSpec(TrainedSpec):
    """A network that has no infinite twin here (one of ``ntkcore.architectures``), trained; compared with a kernel."""

    stage: ClassVar[str] = "network"
    version: ClassVar[int] = 1
    name: ArchitectureName = "cnn-small"
    kernel: KernelSpec = KernelSpec()  # of the images it sees, through which map, and what it is compared with
    init: Init = "torch"
    seed: int = Field(0, ge=0, lt=2**31)
    training: Training = PLAIN

    @model_validator(mode="after")
    def _absolute(self) -> "NetworkSpec":
        if self.training.parameterisation != "standard":
            raise ValueError(
                "These networks have no NTK parameterisation; set training.parameterisation to 'standard'."
            )
        return self

    def untrained(self, image_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return build(self.name, image_shape, outputs, self.seed, self.init)

    def group(self) -> str:
        return self.name

    def size(self) -> NetSize:
        return NetSize.of_named(NamedNet(name=self.name), self.data)

    def model_name(self) -> str:
        """ "Small CNN (2 convolutions), seed 0, compared with FC(1) NTK, trained: ..."."""
        kernel = self.kernel
        net, *more = kernel.net.in_words()
        against = [f"compared with {net} {kernel.kind.upper()}", *more, *unusual(kernel, "precision")]
        words = [ARCHITECTURES[self.name], *unusual(self, "init"), f"seed {self.seed}", *against]
        return ", ".join([*words, f"trained: {self.training}"])


def checkpoint_steps(steps: int) -> tuple[int, ...]:
    """Steps at which a net is looked at: 1, 2, 5, 10, 20, 50, ... and the last."""
    round_ones = (base * 10**power for power in range(7) for base in (1, 2, 5))
    return (*(step for step in round_ones if step < steps), *((steps,) if steps else ()))


def _reported(checkpoints: Iterator[Checkpoint], steps: int, context: Context) -> Iterator[Checkpoint]:
    report = context.report((0.3, 1.0))
    for checkpoint in checkpoints:
        if report is not None:
            note = f"training, step {checkpoint.step} of {steps}, loss {checkpoint.loss:.3g}"
            report(checkpoint.step, max(1, steps), note)
        yield checkpoint
