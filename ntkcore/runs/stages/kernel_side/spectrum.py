"""The stage of a spectrum: eigenpairs of a kernel's matrix on the training images, and the labels on them.

All eigenpairs, or the ``leading`` ones: of n images all cost n^3, the k largest some products with the kernel
(``analysis.leading``). Stages that need eigenpairs say which by the same field::

    s = read_spectrum(result(SpectrumSpec(kernel=kernel), store))     # Spectrum: values [n] descending, vectors [n, n]
    s = read_spectrum(result(SpectrumSpec(kernel=kernel, leading=500), store))      # values [500], vectors [n, 500]
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from ntkcore.analysis.block_means import block_means
from ntkcore.analysis.leading import dimensions, worthwhile
from ntkcore.analysis.spectrum import HELD, Spectrum, label_energy, projections, spectrum
from ntkcore.kernels import kernel_to_file
from ntkcore.kernels.products import BLOCK, square
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec, kernel_of
from ntkcore.runs.stages.sizes import LEAST_MEMORY, NOTHING, Estimate, KernelSize, NetSize, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec
from ntkcore.runs.store import Artifact

ALL_UP_TO = 5000  # training images whose eigenpairs are all computed where nothing else is said
LEADING = 500  # eigenpairs of more
TILES = 5e8  # bytes for tiles of a kernel that is written to a file
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
    def held(self) -> bool:
        """Whether the kernel between training images is a result of its own, in memory as a whole; it is a file as long
        as it is worked with where only leading eigenpairs are wanted of more than HELD bytes."""
        return self.leading is None or 8.0 * self.kernel.data.n_train**2 <= HELD

    def reads_kernel(self) -> tuple[StageSpec, ...]:
        """What ``matrix_of`` reads."""
        return (self.kernel,) if self.held else self.kernel.reads()

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

    @classmethod
    def usual(cls, kernel: KernelSpec) -> "SpectrumSpec":
        """Those that are computed where nothing is said; for what is the same, whichever they are."""
        return cls(kernel=kernel, leading=usual_leading(kernel.data.n_train))

    def reads(self) -> tuple[StageSpec, ...]:
        return self.reads_kernel()

    def compute(self, context: Context) -> Arrays:
        task = context.task(self.kernel.data)
        beside: Arrays = {}
        if self.leading is None:
            K = context.get(self.kernel, (0.0, 0.8)).arrays["K"]
            if context.progress is not None:
                context.progress(0.8, 1.0, "eigenvalues and eigenvectors")
            s = spectrum(K)
        else:
            with matrix_of(self, context, (0.0, 0.2)) as matrix:
                s = spectrum(matrix, self.leading, context.report((0.2, 0.9)))
                means = block_means(square(matrix), np.asarray(task.labels_train), len(task.classes))
            beside = {"trace": np.array(s.trace), **means.arrays()}
        if not self.held:
            kernel = kernel_of(self.kernel, task, context).with_progress(context.report((0.9, 1.0)))
            images = [context.put(x.to(self.kernel.dtype)) for x in (task.x_test, task.x_train)]
            beside["K_test"] = kernel(*images).double().cpu()
        return {
            "values": s.values,
            "vectors": s.vectors,
            "projections": projections(s, task.y_train),
            "label_energy": label_energy(s, task.y_train),
            **beside,
        }

    def cost(self, rates: Rates) -> Estimate:
        n, k, whole = float(self.kernel.data.n_train), self.leading, 48.0 * self.kernel.data.n_train**2
        if k is not None and worthwhile(int(n), k):
            space = dimensions(k)
            flops = products(self, space) + 3 * n * space**2 + 2 * n * space * k
            seconds = flops * rates.flop64 + 4 * space**3 * rates.eigh
            beside = 8.0 * n * self.kernel.data.n_test
            return matrix_cost(self, rates) + Estimate(seconds, room_of_matrix(self) + 8 * SPACES * n * space + beside)
        full = Estimate(rates.eigh * n**3, whole)
        if self.kernel.checkpoint is not None:
            full = passes(NetSize.of_run(self.kernel.checkpoint.run), rates, 0.0, cubed=n**3, more=whole)
        return matrix_cost(self, rates) + full


@contextmanager
def matrix_of(spec: EigenpairsSpec, context: Context, share: tuple[float, float]) -> Iterator[Tensor | np.memmap]:
    """The kernel between training images; where it is not held, a file that is gone afterwards."""
    if spec.held:
        yield context.get(spec.kernel, share).arrays["K"]
        return
    task = context.task(spec.kernel.data)
    x = context.put(task.x_train.to(spec.kernel.dtype))
    size, divisible = x.element_size() * float(task.n) ** 2, spec.kernel.checkpoint is None
    with context.scratch(size) as folder:
        report = context.report(share)

        def progress(done: float, total: float, note: str) -> None:
            os.utime(folder)  # what is older than an hour is swept away
            if report is not None:
                report(done, total, note)

        kernel, file = kernel_of(spec.kernel, task, context), folder / "kernel.npy"
        yield context.divided(
            lambda executor, _: kernel_to_file(kernel, x, file, TILES, progress, executor=executor), divisible
        )


def matrix_cost(spec: EigenpairsSpec, rates: Rates) -> Estimate:
    """Of a kernel that ``matrix_of`` computes itself."""
    return NOTHING if spec.held else Estimate(spec.kernel.cost(rates).seconds, 0.0)


def products(spec: EigenpairsSpec, columns: float) -> float:
    """Operations of the kernel's products with so many columns; of a file they take longer, as it is read."""
    return (2.0 if spec.held else 6.0) * spec.kernel.data.n_train**2 * columns


def room_of_matrix(spec: EigenpairsSpec) -> float:
    """Bytes in memory while it is worked with."""
    pixels = KernelSize.of(spec.kernel.data, spec.kernel.net).pixels
    n = float(spec.kernel.data.n_train)
    return LEAST_MEMORY + 3 * BLOCK + (8.0 * n**2 if spec.held else TILES + 16.0 * n * pixels)


def leading_in_words(k: int | None) -> list[str]:
    """How many eigenpairs are worked from, where that is not all."""
    return [] if k is None else [f"{k} leading eigenpairs"]


def read_spectrum(artifact: Artifact) -> Spectrum:
    arrays = artifact.arrays
    return Spectrum(arrays["values"], arrays["vectors"], float(arrays["trace"]) if "trace" in arrays else None)
