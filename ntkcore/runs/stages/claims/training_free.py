"""The stage of the first claim: what FGSM on the kernel's own prediction does, along the radius, to all test images.

::

    a = result(TrainingFreeSpec(kernel=e.kernel(), leading=e.eigenpairs), store).arrays
    a["right_before"], a["right_after"]                  # [m], [E, m] bool, at the radii a["eps"] [E]
"""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from ntkcore.analysis.attacks.attack import Attack, fgsm
from ntkcore.analysis.attacks.balls import Norm
from ntkcore.analysis.attacks.transfer import judge, perturb_along
from ntkcore.analysis.features.eigenfeatures import majority_share
from ntkcore.analysis.predict import margins
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.parts import cost_of_passes, parts_of, predictor, read_by_predictor
from ntkcore.runs.stages.kernel_side.spectrum import EigenpairsSpec
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

STEPS = 8  # radii up to the one that is judged, and as many beyond it
ROWS = 100  # test images attacked together: bounds the memory


class TrainingFreeSpec(EigenpairsSpec):
    """FGSM on the kernel's prediction at t = infinity, at radii up to twice ``eps``, on all test images.

    One image is followed: of those that the kernel gets right and the attack turns, the one that the kernel is most
    sure of before.
    """

    stage: ClassVar[str] = "training_free"
    version: ClassVar[int] = 1
    eps: float = Field(8 / 255, gt=0, le=1e6, allow_inf_nan=False)
    norm: Norm = "linf"

    @property
    def attack(self) -> Attack:
        return fgsm(self.eps, self.norm)

    @property
    def radii(self) -> tuple[float, ...]:
        """The radii, [2 STEPS], of which number STEPS - 1 is ``eps``."""
        most = 1.0 if self.norm == "linf" else np.inf
        return tuple(min(self.eps * i / STEPS, most) for i in range(1, 2 * STEPS + 1))

    def reads(self) -> tuple[StageSpec, ...]:
        return read_by_predictor(self.eigenpairs, None, 0.0)

    def compute(self, context: Context) -> Arrays:
        p = parts_of(self.eigenpairs, context, (0.0, 0.5))
        f, y = predictor(p, None, 0.0, context), context.put(p.task.y_test)
        attack, report = fgsm(max(self.radii), self.norm), context.report((0.5, 1.0))
        before, after, clean, outputs = [], [], [], []
        for start in range(0, len(p.x_test), ROWS):
            if report is not None:
                report(start, len(p.x_test), "attacking the prediction")
            x, labels = p.x_test[start : start + ROWS], y[start : start + ROWS]
            verdicts = judge(f, x, perturb_along(f, x, labels, attack, self.radii).x_adv, labels)
            assert verdicts.clean is not None  # judge keeps both
            assert verdicts.attacked is not None
            before.append(verdicts.right_before)
            after.append(verdicts.right_after)
            clean.append(verdicts.clean)
            outputs.append(verdicts.attacked)
        right_before, right_after = torch.cat(before), torch.cat(after, 1)
        all_clean, all_attacked = torch.cat(clean), torch.cat(outputs, 1)
        sure = margins(all_clean.cpu(), p.task.y_test.double())
        turned = (right_before & ~right_after[STEPS - 1]).cpu()
        index = int(torch.where(turned, sure, -torch.inf).argmax()) if turned.any() else int(sure.argmax())
        one = slice(index, index + 1)
        followed = perturb_along(f, p.x_test[one], y[one], attack, self.radii).x_adv[:, 0]
        return {
            "eps": np.array(self.radii),
            "right_before": right_before.cpu(),
            "right_after": right_after.cpu(),
            "majority": np.array(majority_share(p.task.y_test)),
            "index": np.array(index),
            "label": p.task.y_test[index].double(),
            "image": p.task.x_test[index].float(),
            "images": followed.float().cpu(),
            "outputs": torch.cat([all_clean[None, index], all_attacked[:, index]]).double().cpu(),
        }

    def cost(self, rates: Rates) -> Estimate:
        m = self.kernel.data.n_test
        if self.kernel.checkpoint is not None:
            return self.kernel.attack_cost(rates, 1, m, 2 + len(self.radii))
        return cost_of_passes(self.eigenpairs, rates, m * (1 + len(self.radii) // 3))

    def in_words(self) -> str:
        return f"{super().in_words()}, its prediction under {self.attack}, and along the radius"

    def experiment_fields(self) -> dict[str, Any]:
        return super().experiment_fields() | {"attack": self.attack}
