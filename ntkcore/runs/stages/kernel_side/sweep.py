"""The stage of a sweep: every eigenfeature by itself, clean and under attack, and under permuted test labels.

::

    sweep = read_sweep(result(spec, store), result(spec.eigenpairs, store), spec)     # Sweep
"""

from typing import Any, ClassVar

from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.analysis.features.eigenfeatures import Sweep, eigenfeatures
from ntkcore.analysis.features.label_test import Null
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import parts_of, read_by_parts, room
from ntkcore.runs.stages.kernel_side.spectrum import EigenpairsSpec, read_spectrum
from ntkcore.runs.stages.sizes import Estimate, KernelSize
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact

SWEPT = ("answers", "labels", "right_before", "right_after", "zero_gradient")  # what the artifact keeps of a Sweep


class SweepSpec(EigenpairsSpec):
    """Usefulness and robustness of every eigenfeature under one attack."""

    stage: ClassVar[str] = "sweep"
    version: ClassVar[int] = 3
    attack: Attack = fgsm()

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_parts(self.eigenpairs)

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.eigenpairs, context, (0.0, 0.2))
        y, y_test = context.put(p.task.y_train), context.put(p.task.y_test)
        arguments = (p.kernel, p.x, y, p.x_test, y_test, self.attack, p.s, p.K_test, context.report((0.2, 1.0)))
        sweep = context.divided(lambda executor, folder: eigenfeatures(*arguments, executor=executor, folder=folder))
        null = sweep.permuted()
        return {
            **{name: getattr(sweep, name).cpu() for name in SWEPT},
            "usefulness": sweep.usefulness.cpu(),
            "robustness": sweep.robustness.cpu(),
            "p_values": sweep.p_values,
            "null_p_values": null.p_values,
            "null_usefulness": null.usefulness,
        }

    def cost(self, rates: Rates) -> Estimate:
        kernel, n, m = self.kernel, self.kernel.data.n_train, self.kernel.data.n_test
        if kernel.checkpoint is not None:
            return kernel.attack_cost(rates, self.features, m / 2, self.attack.steps)
        size = KernelSize.of(kernel.data, kernel.net)
        held = room(self.eigenpairs, size) + (12.0 * n * size.pixels if self.leading is None else 0.0)
        seconds = m * size.attack(self.features, self.attack, rates)
        return Estimate(seconds, held + size.gradient_bytes())

    def in_words(self) -> str:
        return f"{super().in_words()}, {self.attack}"

    def experiment_fields(self) -> dict[str, Any]:
        return super().experiment_fields() | {"attack": self.attack}


def read_sweep(artifact: Artifact, spectrum_artifact: Artifact, spec: SweepSpec) -> Sweep:
    arrays = artifact.arrays
    sweep = Sweep(read_spectrum(spectrum_artifact), spec.attack, *(arrays[name] for name in SWEPT))
    kept = {name: arrays[name] for name in ("usefulness", "robustness")}
    vars(sweep).update(kept, p_values=arrays["p_values"].numpy())  # what its cached properties would compute again
    return sweep


def read_null(artifact: Artifact) -> Null:
    """Of a sweep's artifact: its features under permuted test labels."""
    return Null(artifact.arrays["null_p_values"].numpy(), artifact.arrays["null_usefulness"].numpy())


def swept(spec: SweepSpec, context: Context, share: tuple[float, float]) -> Sweep:
    return read_sweep(context.get(spec, share), context.get(spec.eigenpairs), spec)
