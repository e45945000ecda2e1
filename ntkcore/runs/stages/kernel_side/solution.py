"""The stage of a solution: the dual weights of a kernel's prediction, where only leading eigenpairs are at hand.

By conjugate gradients, which the leading eigenpairs make few (``analysis.solve``), to a stated residual::

    a = result(SolutionSpec(kernel=kernel, leading=500), store).arrays
    a["alpha"], a["residual"]                   # [n, c], |Y - (K + ridge I) alpha| / |Y| of the worst column
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ntkcore.analysis.solve import solve
from ntkcore.kernels.products import square
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.spectrum import (
    EigenpairsSpec,
    matrix_cost,
    matrix_of,
    products,
    read_spectrum,
    room_of_matrix,
)
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate, outputs_of
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

RESIDUAL = 1e-3
PRODUCTS = 50  # that it takes, about
COLUMNS = 8  # at least, that a product costs: those with fewer wait for the memory


class SolutionSpec(EigenpairsSpec):
    """The dual weights of the prediction at t = infinity, to a residual that is a share of the labels."""

    stage: ClassVar[str] = "solution"
    version: ClassVar[int] = 1
    ridge: float = Field(0.0, ge=0, allow_inf_nan=False)
    residual: float = Field(RESIDUAL, gt=0, lt=1)

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.eigenpairs, *self.reads_kernel())

    def compute(self, context: Context) -> Arrays:
        y = context.task(self.kernel.data).y_train.double()
        s = read_spectrum(context.get(self.eigenpairs, (0.0, 0.5)))
        with matrix_of(self, context, (0.5, 0.6)) as K:
            found = solve(square(K), y, self.ridge, self.residual, s, context.report((0.6, 1.0)))
        return {"alpha": found.alpha, "residual": np.array(found.residual), "products": np.array(found.products)}

    def cost(self, rates: Rates) -> Estimate:
        n, c = float(self.kernel.data.n_train), max(COLUMNS, outputs_of(self.kernel.data))
        each = products(self, c) + 4 * n * self.features * c
        own = Estimate(PRODUCTS * each * rates.flop64, room_of_matrix(self) + 8 * n * (self.features + 6 * c))
        return matrix_cost(self, rates) + own

    def in_words(self) -> str:
        return ", ".join([super().in_words(), "its prediction", *unusual(self, "ridge", "residual")])

    def experiment_fields(self) -> dict[str, Any]:
        return super().experiment_fields() | {"ridge": self.ridge}
