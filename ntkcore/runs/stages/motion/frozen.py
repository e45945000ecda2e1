"""The stage of a frozen net: a checkpoint's linearisation solved in closed form, and what it gets right."""

from typing import Any, ClassVar

from pydantic import Field

from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.analysis.tangent import fit_tangent
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec, anchor_of, load_checkpoint
from ntkcore.runs.stages.motion.score import judged
from ntkcore.runs.stages.phrases import attack_in_words, unusual
from ntkcore.runs.stages.sizes import LINEAR, Estimate, NetSize, outputs_of, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

FITTED = 200  # training images by which a closed form is judged, at most


class FrozenSpec(StageSpec):
    """A checkpoint's linearisation solved in closed form on the first ``n`` training images, and its accuracy."""

    stage: ClassVar[str] = "frozen"
    version: ClassVar[int] = 3  # 3: on the first test images
    of_nets: ClassVar[bool] = True
    checkpoint: EpochSpec = EpochSpec()
    n: int = Field(500, ge=2, le=20_000)
    n_test: int = Field(200, ge=1)
    ridge: float = Field(1e-3, ge=0, allow_inf_nan=False)  # in units of the kernel's mean diagonal
    fgsm: Attack = fgsm()
    pgd: Attack = pgd()

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.checkpoint, *anchor_of(self.checkpoint))

    def compute(self, context: Context) -> Arrays:
        net = load_checkpoint(self.checkpoint, context, (0.0, 0.4))
        data = self.checkpoint.data
        task = context.task(data)
        n = min(self.n, task.n)
        solved = fit_tangent(net, context.put(task.x_train[:n]), context.put(task.y_train[:n]), self.ridge)
        attacks = {"fgsm": self.fgsm, "pgd": self.pgd}
        return judged(solved, data, attacks, self.n_test, min(n, FITTED), context, (0.6, 1.0))

    def cost(self, rates: Rates) -> Estimate:
        data, net = self.checkpoint.data, NetSize.of_run(self.checkpoint.run)
        n = min(self.n, data.n_train)
        size = outputs_of(data) * n
        solving, images = net.weights * size**2 + size**3, min(self.n_test, data.n_test) + n
        judging = images * LINEAR * self.checkpoint.pass_flops() * 3 * (self.fgsm.steps + self.pgd.steps + 1)
        return passes(net, rates, solving + judging, more=16.0 * size**2)

    def in_words(self) -> str:
        words = [self.checkpoint.in_words(), attack_in_words(self.fgsm), attack_in_words(self.pgd)]
        return ", ".join([*words, *unusual(self, "n_test", "ridge"), f"solved on {self.n} images"])

    def experiment_fields(self) -> dict[str, Any]:
        return self.checkpoint.experiment_fields()
