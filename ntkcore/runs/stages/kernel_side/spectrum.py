"""The stage of a spectrum: eigenpairs of a kernel's matrix on the training images, and the labels on them.

All eigenpairs, or the ``leading`` ones: of n images all cost n^3, the k largest some products with the kernel
(``analysis.leading``). Stages that need eigenpairs say which by the same field::

    s = read_spectrum(result(SpectrumSpec(kernel=kernel), store))     # Spectrum: values [n] descending, vectors [n, n]
    s = read_spectrum(result(SpectrumSpec(kernel=kernel, leading=500), store))      # values [500], vectors [n, 500]
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from ntkcore.analysis.block_means import block_means
from ntkcore.analysis.leading import dimensions, worthwhile
from ntkcore.analysis.spectrum import Spectrum, label_energy, projections, spectrum
from ntkcore.kernels.products import square
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.sizes import LEAST_MEMORY, Estimate, NetSize, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact

ALL_UP_TO = 5000  # training images whose eigenpairs are all computed where nothing else is said
LEADING = 500  # eigenpairs of more
SPACES = 2.5  # of the vectors of Lanczos' space: it is copied while it grows


def usual_leading(n: int) -> int | None:
    """How many eigenpairs of the kernel of n images are computed where nothing is said; None: all."""
    return None if n <= ALL_UP_TO else LEADING


class EigenpairsSpec(StageSpec):
    """What stages have that work from the eigenpairs of a kernel. leading: the k largest alone; None: all of them."""

    kernel: KernelSpec = KernelSpec()
    leading: int | None = Field(None, ge=1, exclude_if=lambda k: k is None)  # keys of before are without it

    @model_validator(mode="after")
    def _fewer_than_all(self) -> "EigenpairsSpec":
        n = self.kernel.data.n_train
        if self.leading is not None and self.leading >= n:
            raise ValueError(f"leading is {self.leading} of {n} eigenpairs; choose fewer, or leave it out for all.")
        return self

    @property
    def eigenpairs(self) -> "SpectrumSpec":
        """Those that it works from."""
        return SpectrumSpec(kernel=self.kernel, leading=self.leading)

    @property
    def features(self) -> int:
        """As many as there are at most."""
        return self.leading or self.kernel.data.n_train

    def in_words(self) -> str:
        return ", ".join([self.kernel.in_words(), *leading_in_words(self.leading)])

    def experiment_fields(self) -> dict[str, Any]:
        usual = usual_leading(self.kernel.data.n_train)
        rest = {} if self.leading == usual else {"leading": self.leading or "all"}
        return self.kernel.experiment_fields() | rest


class SpectrumSpec(EigenpairsSpec):
    """Eigenpairs of a kernel's training matrix, and the labels on them; beside the leading ones, the sum of all
    eigenvalues and the kernel as a picture (``analysis.block_means``)."""

    stage: ClassVar[str] = "spectrum"
    version: ClassVar[int] = 1

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.kernel,)

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.kernel.data)
        K = context.get(self.kernel, (0.0, 0.8 if self.leading is None else 0.2)).arrays["K"]
        if self.leading is None:
            if context.progress is not None:
                context.progress(0.8, 1.0, "eigenvalues and eigenvectors")
            s, beside = spectrum(K), {}
        else:
            s = spectrum(K, self.leading, context.report((0.2, 1.0)))
            means = block_means(square(K), np.asarray(task.labels_train), len(task.classes))
            beside = {"trace": np.array(s.trace), **means.arrays()}
        return {
            "values": s.values,
            "vectors": s.vectors,
            "projections": projections(s, task.y_train),
            "label_energy": label_energy(s, task.y_train),
            **beside,
        }

    def cost(self, rates: Rates) -> Estimate:
        n, k, whole = float(self.kernel.data.n_train), self.leading, 40.0 * self.kernel.data.n_train**2
        if k is not None and worthwhile(int(n), k):
            space = dimensions(k)
            flops = 2 * n**2 * space + 3 * n * space**2 + 2 * n * space * k
            seconds = flops * rates.flop64 + 4 * space**3 * rates.eigh
            return Estimate(seconds, 8 * (n**2 + SPACES * n * space) + LEAST_MEMORY)
        if self.kernel.checkpoint is None:
            return Estimate(rates.eigh * n**3, whole)
        return passes(NetSize.of_run(self.kernel.checkpoint.run), rates, 0.0, cubed=n**3, more=whole)


def leading_in_words(k: int | None) -> list[str]:
    """How many eigenpairs are worked from, where that is not all."""
    return [] if k is None else [f"{k} leading features"]


def read_spectrum(artifact: Artifact) -> Spectrum:
    arrays = artifact.arrays
    return Spectrum(arrays["values"], arrays["vectors"], float(arrays["trace"]) if "trace" in arrays else None)
