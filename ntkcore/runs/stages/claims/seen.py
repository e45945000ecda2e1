"""The stage of the fourth claim: one image through its robust and brittle features, and who does the damage to all.

::

    a = result(SeenSpec(sweep=e.sweep()), store).arrays
    a["pictures"], a["features"]          # [k, C, H, W], [k]: robust ones first, then brittle ones
    a["parts"]                            # [m, 4] changes of margins by class of feature, as in GROUPS
"""

from typing import Any, ClassVar

import numpy as np
import torch

from ntkcore.analysis.features.classes import BRITTLE, ROBUST, classify
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.pictures import damage, feature_pictures
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.curves import Rule
from ntkcore.runs.stages.kernel_side.parts import cost_of_passes, parts_of, read_by_parts
from ntkcore.runs.stages.kernel_side.sweep import SweepSpec, swept
from ntkcore.runs.stages.phrases import unusual
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

EACH = 4  # robust features, and as many brittle ones: those of the largest eigenvalues


class SeenSpec(StageSpec):
    """The damage of the attack on the whole kernel to every test image, split over the classes of features; and one
    image's features and perturbation as pictures.

    Features are classed on the first half of the test images, and the damage is judged on the second. One image of that
    half is shown: of those that the kernel gets right and the attack turns, the one that the kernel is most sure of
    before.
    """

    stage: ClassVar[str] = "seen"
    version: ClassVar[int] = 1
    sweep: SweepSpec = SweepSpec()
    rule: Rule = Rule()

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.sweep, *read_by_parts(self.sweep.eigenpairs))

    def compute(self, context: Context) -> Arrays:
        sweep = swept(self.sweep, context, (0.0, 0.6))
        p = parts_of(self.sweep.eigenpairs, context, (0.6, 0.7))
        labels = np.asarray(p.task.labels_test)
        first = halves(labels)
        classes = classify(sweep.part(first), self.rule.fdr, self.rule.keep)
        y, y_test, attack = context.put(p.task.y_train), context.put(p.task.y_test), self.sweep.attack
        judged = np.flatnonzero(~first) if not first.all() else np.arange(p.task.m)
        rows, report = context.put(torch.from_numpy(judged)), context.report((0.7, 0.95))
        d = damage(p.kernel, p.s, p.x, y, p.x_test[rows], y_test[rows], attack, classes, report)
        turned = (d.before > 0) & (d.after <= 0)
        place = int(torch.where(turned, d.before, -torch.inf).argmax() if turned.any() else d.before.argmax())
        index, features = int(judged[place]), chosen(classes)
        r = feature_pictures(p.kernel, p.s, p.x, y, p.x_test[index], y_test[index], attack, features.tolist(), classes)
        return {
            "index": np.array(index),
            "label": np.array(int(labels[index])),
            "nth": np.array(int((labels[:index] == labels[index]).sum())),  # of its class
            "image": p.task.x_test[index].float(),
            "x_adv": r.x_adv.float(),
            "features": features,
            "kinds": classes[features].astype(np.int64),
            "pictures": r.pictures.float(),
            "group_gradients": r.group_gradients.float(),
            "counts": np.bincount(classes, minlength=4),
            "parts": d.parts,
            "before": d.before,
            "after": d.after,
            "halved": np.array(not first.all()),
        }

    def cost(self, rates: Rates) -> Estimate:
        kernel, m = self.sweep.kernel, self.sweep.kernel.data.n_test
        if kernel.checkpoint is not None:
            return kernel.attack_cost(rates, 1, m, self.sweep.attack.steps)
        return cost_of_passes(self.sweep.eigenpairs, rates, m * (1 + self.sweep.attack.steps))

    def in_words(self) -> str:
        return ", ".join([self.sweep.in_words(), *unusual(self.rule), "one image seen through its features"])

    def experiment_fields(self) -> dict[str, Any]:
        return self.sweep.experiment_fields() | {"rule": self.rule}


def chosen(classes: np.ndarray) -> np.ndarray:
    """The EACH first robust features, then the EACH first brittle ones, classes [F]; without any, the first ones."""
    found = np.concatenate([np.flatnonzero(classes == kind)[:EACH] for kind in (ROBUST, BRITTLE)])
    return found if len(found) else np.arange(min(EACH, len(classes)))
