"""The stage of gradients: where on an image the leading eigenfeatures of a kernel look."""

from typing import ClassVar

from pydantic import Field

from ntkcore.analysis.consistency.similarity import feature_gradients
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import parts_of, read_by_parts
from ntkcore.runs.stages.kernel_side.spectrum import EigenpairsSpec
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import OVERHEAD, POOLED, Estimate, KernelSize
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec


class GradientsSpec(EigenpairsSpec):
    """Input gradients of a kernel's ``top`` leading eigenfeatures at the first ``images`` test images."""

    stage: ClassVar[str] = "gradients"
    version: ClassVar[int] = 1
    top: int = Field(20, ge=1, le=100)
    images: int = Field(10, ge=1, le=1000)

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_parts(self.eigenpairs)

    def compute(self, context: Context) -> Arrays:
        """``feature_gradients``, in the kernel's precision: [top, images, C, H, W]."""
        p = parts_of(self.eigenpairs, context, (0.0, 0.5))
        x, images = p.x.to(self.kernel.dtype), p.x_test[: self.images]
        features = range(min(self.top, p.s.rank))
        return {"gradients": feature_gradients(p.kernel, p.s, x, images, features, context.report((0.5, 1.0))).float()}

    def cost(self, rates: Rates) -> Estimate:
        size = KernelSize.of(self.kernel.data, self.kernel.net)
        each = 3 * size.n * size.recursion(rates, self.kernel.double) * (POOLED if size.pooled else 1)
        return Estimate(min(self.images, size.m) * (each + OVERHEAD), size.gradient_bytes())

    def in_words(self) -> str:
        return ", ".join([super().in_words(), *unusual(self, "top", "images")])
