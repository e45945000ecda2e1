"""What the stages after the spectrum share: images, kernel and eigenpairs at hand, the predictor, the attack beside.

::

    p = parts_of(spec.eigenpairs, context, (0.0, 0.5))      # Parts; what is missing of it is computed
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
from ntkcore.runs.device import choose_device
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import kernel_of
from ntkcore.runs.stages.kernel_side.solution import SolutionSpec
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, read_spectrum
from ntkcore.runs.stages.sizes import DENSE_GRADIENT, OVERHEAD, Estimate, KernelSize
from ntkcore.runs.stages.stage import Context, StageSpec

READ = 1e9  # bytes that are read and looked at in a second
PGD_STEPS = 10  # at least, of the attack that stands beside every other


@dataclass(frozen=True, eq=False)
class Parts:
    """What the stages after the spectrum share. of: whose it is."""

    of: SpectrumSpec
    task: data.Task
    kernel: TiledKernel
    s: Spectrum
    K_test: Tensor
    x: Tensor
    x_test: Tensor


def read_by_parts(spec: SpectrumSpec) -> tuple[StageSpec, ...]:
    """The results that ``parts_of`` reads."""
    return (spec, *((spec.kernel,) if spec.held else ()), *spec.kernel.reads())


def parts_of(spec: SpectrumSpec, context: Context, share: tuple[float, float]) -> Parts:
    task = context.task(spec.kernel.data)
    found = context.get(spec, share)
    s = read_spectrum(found).to(choose_device(context.device))
    K_test = (context.get(spec.kernel, share) if spec.held else found).arrays["K_test"]
    return Parts(
        spec,
        task,
        kernel_of(spec.kernel, task, context),
        s,
        context.put(K_test),
        context.put(task.x_train),
        context.put(task.x_test),
    )


def read_by_predictor(spec: SpectrumSpec, time: float | None, ridge: float) -> tuple[StageSpec, ...]:
    """The results that ``parts_of`` and ``predictor`` read."""
    return (*read_by_parts(spec), *_solution(spec, time, ridge))


def predictor(p: Parts, time: float | None, ridge: float, context: Context) -> KernelPredictor:
    """The prediction at a time (None: infinity). Of leading eigenpairs the last one is that of conjugate gradients."""
    for solution in _solution(p.of, time, ridge):
        found = context.get(solution).arrays
        alpha = context.put(found["alpha"])
        return KernelPredictor(p.kernel, p.x.double(), alpha, residual=float(found["residual"]))
    moment = float("inf") if time is None else time
    return fit(p.kernel, p.x, context.put(p.task.y_train), moment, ridge, p.s)


def _solution(spec: SpectrumSpec, time: float | None, ridge: float) -> tuple[SolutionSpec, ...]:
    whole = spec.leading is None or time is not None
    return () if whole else (SolutionSpec(kernel=spec.kernel, leading=spec.leading, ridge=ridge),)


def strong(attack: Attack) -> Attack:
    """PGD of the same radius and norm, no random start: what FGSM is compared with."""
    steps = max(attack.steps, PGD_STEPS)
    return attack.model_copy(update={"steps": steps, "step_size": 2.5 * attack.eps / steps, "random_start": False})


def cost_of_passes(spec: SpectrumSpec, rates: Rates, count: int, copies: int = 3) -> Estimate:
    """So many gradients of a kernel predictor in one image; copies: as in ``room``."""
    size = KernelSize.of(spec.kernel.data, spec.kernel.net)
    each = 15 * size.n * size.recursion(rates, True) * (DENSE_GRADIENT if size.loops and size.dense else 1)
    held = room(spec, size, copies)
    read = 0.0 if spec.leading is None else held / READ
    return Estimate(count * each + read + 20 * OVERHEAD, held + size.gradient_bytes())


def room(spec: SpectrumSpec, size: KernelSize, copies: int = 5) -> float:
    """Bytes of eigenpairs and kernel rows at hand, of the images, and of what is made of them. copies: of the images or
    of their gradients, that are in memory in double precision."""
    if spec.leading is None:
        return 32.0 * size.n**2
    return 16.0 * size.n * (size.m + 2 * spec.leading) + 8.0 * copies * size.n * size.pixels


def check_index(index: int, task: data.Task) -> None:
    if index >= task.m:
        raise SpecError(f"Test image {index} does not exist: there are {task.m}. Choose 0 to {task.m - 1}.")
