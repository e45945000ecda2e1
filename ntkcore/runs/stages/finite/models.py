"""Models, each a predictor x -> [m, c] that a perturbation can be made through and judged by.

A kernel's prediction is one (``KernelModel``), and so are nets in ``training``. What they have in common is ``Model``::

    f = KernelModel(kernel=e.kernel(), descent=Descent(steps=100)).load(context)
"""

from typing import Any, Protocol

from pydantic import Field, model_validator

from ntkcore.analysis.attacks.attack import Predictor
from ntkcore.analysis.predict import KernelPredictor, fit, fit_steps
from ntkcore.data import DataSpec
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec, kernel_of
from ntkcore.runs.stages.kernel_side.parts import read_by_parts, room
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, matrix_of, read_spectrum, room_of_matrix
from ntkcore.runs.stages.phrases import data_in_words, unusual
from ntkcore.runs.stages.sizes import OVERHEAD, POOLED, Estimate, KernelSize
from ntkcore.runs.stages.stage import Context, StageSpec
from ntkcore.training import Descent
from ntkcore.validation import Spec


class Model(Protocol):
    """What a perturbation is made through, and what judges it. kernel: of the images it sees, through which map."""

    kernel: KernelSpec

    @property
    def data(self) -> DataSpec: ...

    def load(self, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> Predictor:
        """The predictor, with what it needs found or computed."""

    def needs(self) -> tuple[StageSpec, ...]:
        """The results that ``load`` reads."""

    def cost_of_passes(self, rates: Rates, count: float) -> Estimate:
        """So many forward passes of every test image; a backward pass counts as two."""

    def model_name(self) -> str:
        """In words, without its data."""

    def short_name(self) -> str:
        """The same without how it was trained."""


class KernelModel(Spec):
    """A kernel's prediction: after the steps of a descent, or (None) at t = infinity with a ridge."""

    kernel: KernelSpec = KernelSpec()
    descent: Descent | None = None
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _one_way(self) -> "KernelModel":
        if self.descent is not None and self.ridge:
            raise ValueError("A prediction after so many steps has no ridge; set ridge to 0, or leave descent empty.")
        return self

    @property
    def data(self) -> DataSpec:
        return self.kernel.data

    def load(self, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> KernelPredictor:
        task, spec, d = context.task(self.data), self._eigenpairs(), self.descent
        s = read_spectrum(context.get(spec, share))
        kernel, x, y = kernel_of(self.kernel, task, context), context.put(task.x_train), task.y_train
        if d is None:
            f = fit(kernel, x, y, ridge=self.ridge, spectrum_of_train=s)
        elif s.whole:
            f = fit_steps(kernel, x, y, d.lr, d.momentum, d.steps, s)
        else:
            with matrix_of(spec, context, share) as K:
                f = fit_steps(kernel, x, y, d.lr, d.momentum, d.steps, s, K)
        return KernelPredictor(kernel, f.x_train, context.put(f.alpha), f.left_out)

    def needs(self) -> tuple[StageSpec, ...]:
        return read_by_parts(self._eigenpairs())

    def _eigenpairs(self) -> SpectrumSpec:
        """All of them, or, for steps, as many as are usual: what is missing follows from the kernel itself."""
        return SpectrumSpec(kernel=self.kernel) if self.descent is None else SpectrumSpec.usual(self.kernel)

    def cost_of_passes(self, rates: Rates, count: float) -> Estimate:
        size = KernelSize.of(self.data, self.kernel.net)
        per_image = 5 * size.n * size.recursion(rates, True)  # forward and backward, in double precision
        per_image *= POOLED if size.pooled else 1
        held = max(room(self._eigenpairs(), size), room_of_matrix(self._eigenpairs()))
        return Estimate(size.m * count * per_image / 3 + OVERHEAD, held + size.gradient_bytes())

    def model_name(self) -> str:
        """ "FC(1) NTK after 100 steps"."""
        net, more = ", ".join(self.kernel.net.in_words()), unusual(self.kernel, "precision")
        if self.descent is None:
            return ", ".join([f"{net} {self.kernel.kind.upper()} at t = ∞", *unusual(self, "ridge"), *more])
        when = f"after {self.descent.steps} steps"
        return ", ".join([f"{net} {self.kernel.kind.upper()} {when}", *unusual(self.descent, "lr", "momentum"), *more])

    def short_name(self) -> str:
        return self.model_name()

    def in_words(self) -> str:
        return f"{data_in_words(self.data, self.kernel.inputs)}, {self.model_name()}"

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields()


class Noise(Spec):
    """Random signs: what an attack has to beat."""

    data: DataSpec = DataSpec()
    seed: int = Field(0, ge=0, lt=2**31)

    def model_name(self) -> str:
        return f"random signs, seed {self.seed}"

    def in_words(self) -> str:
        return f"{data_in_words(self.data, 'raw')}, {self.model_name()}"
