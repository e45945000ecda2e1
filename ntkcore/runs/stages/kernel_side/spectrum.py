"""The stage of a spectrum: eigenpairs of a kernel's matrix on the training images, and the labels on them.

::

    s = read_spectrum(result(SpectrumSpec(kernel=kernel), store))     # Spectrum: values [n] descending, vectors [n, n]
"""

from typing import Any, ClassVar

from ntkcore.analysis.spectrum import Spectrum, label_energy, projections, spectrum
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.sizes import Estimate, NetSize, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact


class SpectrumSpec(StageSpec):
    """Eigenpairs of a kernel's training matrix, and the labels on them."""

    stage: ClassVar[str] = "spectrum"
    version: ClassVar[int] = 1
    kernel: KernelSpec = KernelSpec()

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.kernel,)

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.kernel.data)
        K = context.get(self.kernel, (0.0, 0.8)).arrays["K"]
        if context.progress is not None:
            context.progress(0.8, 1.0, "eigenvalues and eigenvectors")
        s = spectrum(K)
        return {
            "values": s.values,
            "vectors": s.vectors,
            "projections": projections(s, task.y_train),
            "label_energy": label_energy(s, task.y_train),
        }

    def cost(self, rates: Rates) -> Estimate:
        n = self.kernel.data.n_train
        if self.kernel.checkpoint is None:
            return Estimate(rates.eigh * n**3, 40.0 * n * n)
        return passes(NetSize.of_run(self.kernel.checkpoint.run), rates, 0.0, cubed=float(n) ** 3, more=40.0 * n * n)

    def in_words(self) -> str:
        return self.kernel.in_words()

    def experiment_fields(self) -> dict[str, Any]:
        return self.kernel.experiment_fields()


def read_spectrum(artifact: Artifact) -> Spectrum:
    return Spectrum(artifact.arrays["values"], artifact.arrays["vectors"])
