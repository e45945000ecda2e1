"""The stage of a kernel: its matrix on the training images and its rows at the test images.

::

    KernelSpec(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
    kernel_of(spec, task)                       # the kernel function, x1, x2 -> [n1, n2]
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from ntkcore import data
from ntkcore.analysis.tangent import tangent_kernel
from ntkcore.data import DataSpec
from ntkcore.errors import SpecError
from ntkcore.kernels import TiledKernel, input_map, kernel_fn
from ntkcore.kernels.executors import Executor
from ntkcore.kernels.inputs import InputMapName
from ntkcore.kernels.streamed import kernel_among
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec, load_checkpoint
from ntkcore.runs.stages.nets import NetSpec
from ntkcore.runs.stages.phrases import data_in_words, draw_in_words, unusual
from ntkcore.runs.stages.sizes import LEAST_MEMORY, LINEAR, Estimate, KernelSize, NetSize, outputs_of, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

COPIES = 3  # of the images, that are in memory together
ROWS = 1000  # of a kernel that are looked at together
Precision = Literal["float64", "float32"]
Kind = Literal["ntk", "nngp", "empirical"]


class KernelSpec(StageSpec):
    """The kernel of a net on a data set: K [n, n] and K_test [m, n].

    checkpoint: of kind "empirical", the finite net whose class-traced tangent kernel this is, with its own input map;
    net is left at its default then.
    """

    stage: ClassVar[str] = "kernel"
    version: ClassVar[int] = 1
    data: DataSpec = DataSpec()
    net: NetSpec = NetSpec()
    kind: Kind = "ntk"
    inputs: InputMapName = "raw"
    precision: Precision = "float64"
    checkpoint: EpochSpec | None = None

    @model_validator(mode="after")
    def _whose(self) -> "KernelSpec":
        if (self.kind == "empirical") != (self.checkpoint is not None):
            raise ValueError(
                "An empirical kernel is that of a checkpoint, and only it has one: choose kind 'empirical' "
                "together with a checkpoint of the Evolution page."
            )
        if self.checkpoint is not None:
            other = self.checkpoint.data
            if (other.name, other.classes, other.size, other.digest) != (
                self.data.name,
                self.data.classes,
                self.data.size,
                self.data.digest,
            ):
                raise ValueError(
                    "The checkpoint's net was trained on other images or classes; choose the same data set, "
                    "classes and image size as in its training."
                )
            if self.net != NetSpec() or self.inputs != self.checkpoint.run.inputs:
                raise ValueError("An empirical kernel has the net and the inputs of its checkpoint; leave net alone.")
        return self

    def reads(self) -> tuple[StageSpec, ...]:
        return () if self.checkpoint is None else (self.checkpoint,)

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.data)
        x, x_test = context.put(task.x_train.to(self.dtype)), context.put(task.x_test.to(self.dtype))
        kernel = kernel_of(self, task, context)
        if self.checkpoint is None:
            self.net.build().module(task.image_shape, width=1)  # refuses images that are too small to be pooled
        n, m = task.n, task.m
        square = n * (n + 1) / 2
        split = square / (square + n * m)

        def matrices(executor: Executor | None, folder: Path | None) -> tuple[Tensor, Tensor]:
            if executor is not None:
                return kernel_among(kernel, x, x_test, executor, folder, context.report())
            K = kernel.with_progress(context.report((0.0, split)))(x)
            return K, kernel.with_progress(context.report((split, 1.0)))(x_test, x)

        divisible = self.checkpoint is None  # by tiles, the gradients of a net would be taken again and again
        K, K_test = context.divided(matrices, divisible)
        if not all(torch.isfinite(rows).all() for part in (K, K_test) for rows in part.split(ROWS)):
            raise SpecError("The kernel overflows with these settings. Choose a smaller W_std, b_std or depth.")
        return {"K": K.double().cpu(), "K_test": K_test.double().cpu()}

    def cost(self, rates: Rates) -> Estimate:
        n, m, double = self.data.n_train, self.data.n_test, self.double
        pairs = n * (n + 1) / 2 + n * m
        if self.checkpoint is None:
            size = KernelSize.of(self.data, self.net)
            images = COPIES * 8.0 * (n + m) * size.pixels
            return Estimate(pairs * size.pair(rates, double), 8.0 * n * (n + m) + images + LEAST_MEMORY)
        net, c = NetSize.of_run(self.checkpoint.run), outputs_of(self.data)
        operations = 4 if double else 2  # a product, in single-precision time
        flops = operations * net.weights * c * (n * n / 2 + n * m) + 12.0 * c * (n + m) * net.flops
        return passes(net, rates, flops, more=16.0 * n * n)

    @property
    def double(self) -> bool:
        return self.precision == "float64"

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.double else torch.float32

    def attack_cost(self, rates: Rates, predictors: float, images: float, steps: int) -> Estimate:
        """Of a checkpoint's kernel: so many predictors attacked at so many images in so many steps."""
        assert self.checkpoint is not None
        net, c, n = NetSize.of_run(self.checkpoint.run), outputs_of(self.data), self.data.n_train
        direction, image = 3 * c * n * net.flops, 3 * c * LINEAR * net.flops  # of a predictor; of an image's gradient
        return passes(net, rates, predictors * (direction + images * (steps + 1) * image), more=40.0 * n * n)

    def in_words(self) -> str:
        return ", ".join([data_in_words(self.data, self.inputs), *self.kernel_in_words()])

    def kernel_in_words(self) -> list[str]:
        """Whose kernel it is, without the images."""
        if self.checkpoint is None:
            name, *more = self.net.in_words()
            return [f"{name} {self.kind.upper()}", *more, *unusual(self, "precision")]
        run, other = self.checkpoint.run, self.checkpoint.data
        images = "" if other == self.data else " ".join([f" on {other.n_train} images", *draw_in_words(other)])
        net = [f"empirical NTK of {run.net.in_words()}", run.how_trained() + images, f"epoch {self.checkpoint.epoch}"]
        return [*net, *unusual(self, "precision")]

    def experiment_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


def kernel_of(spec: KernelSpec, task: data.Task, context: Context | None = None) -> TiledKernel:
    """The kernel function of a spec, with its input map fitted to the training images; of a checkpoint, which is found
    through the context, with the map it was trained with."""
    if spec.kind != "empirical":
        return kernel_fn(spec.net.build(), spec.kind, input_map(spec.inputs, task.x_train))
    if context is None or spec.checkpoint is None:
        raise SpecError("The kernel of a checkpoint needs the store that has its weights: hand in a context.")
    return tangent_kernel(load_checkpoint(spec.checkpoint, context, (0.0, 0.0)))
