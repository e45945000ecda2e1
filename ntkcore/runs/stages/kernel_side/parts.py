"""What the stages after the spectrum share: images, kernel and eigenpairs at hand, the predictor, the attack beside.

::

    p = parts_of(spec.kernel, context, (0.0, 0.5))      # Parts; what is missing of it is computed
    f = predictor(p, time=None, ridge=0.0, context=context)
"""

from dataclasses import dataclass

from torch import Tensor

from ntkcore import data
from ntkcore.analysis.attacks.attack import Attack
from ntkcore.analysis.predict import KernelPredictor, fit
from ntkcore.analysis.spectrum import Spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels import TiledKernel
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec, kernel_of
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, read_spectrum
from ntkcore.runs.stages.sizes import DENSE_GRADIENT, OVERHEAD, Estimate, KernelSize
from ntkcore.runs.stages.stage import Context, StageSpec

PGD_STEPS = 10  # at least, of the attack that stands beside every other


@dataclass(frozen=True, eq=False)
class Parts:
    """What the stages after the spectrum share."""

    task: data.Task
    kernel: TiledKernel
    s: Spectrum
    K_test: Tensor
    x: Tensor
    x_test: Tensor


def read_by_parts(kernel: KernelSpec) -> tuple[StageSpec, ...]:
    """The results that ``parts_of`` reads."""
    return (SpectrumSpec(kernel=kernel), kernel, *kernel.reads())


def parts_of(spec: KernelSpec, context: Context, share: tuple[float, float]) -> Parts:
    task = context.task(spec.data)
    s = read_spectrum(context.get(SpectrumSpec(kernel=spec), share))
    K_test = context.get(spec, share).arrays["K_test"]
    s = Spectrum(context.put(s.values), context.put(s.vectors))
    return Parts(
        task,
        kernel_of(spec, task, context),
        s,
        context.put(K_test),
        context.put(task.x_train),
        context.put(task.x_test),
    )


def predictor(p: Parts, time: float | None, ridge: float, context: Context) -> KernelPredictor:
    moment = float("inf") if time is None else time
    return fit(p.kernel, p.x, context.put(p.task.y_train), moment, ridge, p.s)


def strong(attack: Attack) -> Attack:
    """PGD of the same radius and norm, no random start: what FGSM is compared with."""
    steps = max(attack.steps, PGD_STEPS)
    return attack.model_copy(update={"steps": steps, "step_size": 2.5 * attack.eps / steps, "random_start": False})


def cost_of_passes(kernel: KernelSpec, rates: Rates, count: int) -> Estimate:
    """So many gradients of a kernel predictor in one image."""
    size = KernelSize.of(kernel.data, kernel.net)
    each = 15 * size.n * size.recursion(rates, True) * (DENSE_GRADIENT if size.loops and size.dense else 1)
    return Estimate(count * each + 20 * OVERHEAD, 32.0 * size.n**2 + size.gradient_bytes())


def check_index(index: int, task: data.Task) -> None:
    if index >= task.m:
        raise SpecError(f"Test image {index} does not exist: there are {task.m}. Choose 0 to {task.m - 1}.")
