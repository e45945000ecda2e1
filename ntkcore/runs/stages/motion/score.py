"""The stage of a score: how many images a checkpoint gets right, clean and under both attacks."""

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ntkcore.analysis.attacks.attack import Attack, Predictor, fgsm, pgd
from ntkcore.data import DataSpec
from ntkcore.kernels.blocks import slices
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.motion.epoch import EpochSpec, anchor_of, load_checkpoint
from ntkcore.runs.stages.phrases import attack_in_words, unusual
from ntkcore.runs.stages.sizes import Estimate, NetSize, passes
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

ROWS = 100  # images attacked together: bounds the memory of a gradient


class ScoreSpec(StageSpec):
    """Accuracy of a checkpoint, clean and under both attacks, on the first test and the first training images."""

    stage: ClassVar[str] = "score"
    version: ClassVar[int] = 3  # 3: on the first test images
    of_nets: ClassVar[bool] = True
    checkpoint: EpochSpec = EpochSpec()
    fgsm: Attack = fgsm()
    pgd: Attack = pgd()
    n_test: int = Field(200, ge=1)
    n_train: int = Field(200, ge=1)

    def reads(self) -> tuple[StageSpec, ...]:
        return (self.checkpoint, *anchor_of(self.checkpoint))

    def compute(self, context: Context) -> Arrays:
        net = load_checkpoint(self.checkpoint, context, (0.0, 0.5))
        attacks = {"fgsm": self.fgsm, "pgd": self.pgd}
        return judged(net, self.checkpoint.data, attacks, self.n_test, self.n_train, context, (0.5, 1.0))

    def cost(self, rates: Rates) -> Estimate:
        data = self.checkpoint.data
        images = min(self.n_test, data.n_test) + min(self.n_train, data.n_train)
        flops = images * self.checkpoint.pass_flops() * 3 * (self.fgsm.steps + self.pgd.steps + 1)
        return passes(NetSize.of_run(self.checkpoint.run), rates, flops)

    def in_words(self) -> str:
        words = [self.checkpoint.in_words(), attack_in_words(self.fgsm), attack_in_words(self.pgd)]
        return ", ".join([*words, *unusual(self, "n_test", "n_train")])

    def experiment_fields(self) -> dict[str, Any]:
        return self.checkpoint.experiment_fields()


def judged(
    f: Predictor,
    data: DataSpec,
    attacks: dict[str, Attack],
    n_test: int,
    n_train: int,
    context: Context,
    share: tuple[float, float],
) -> Arrays:
    """[m] and [n_train] bool: right before and after each attack ("fgsm", "pgd"), on the first test and the first
    training images; and the outputs [m, c] that it was judged by."""
    task, report = context.task(data), context.report(share)
    arrays: Arrays = {}
    sets = {
        "test": (task.x_test[:n_test], task.y_test[:n_test]),
        "train": (task.x_train[:n_train], task.y_train[:n_train]),
    }
    done, total = 0, 2 * sum(len(x) for x, _ in sets.values())
    for name, (x, y) in sets.items():
        parts: dict[str, list[Tensor]] = {}
        for rows in slices(len(x), ROWS):
            images, labels = context.put(x[rows]), context.put(y[rows])
            for kind, attack in attacks.items():
                if report is not None:
                    report(done, total, "attacking the net")
                result = attack(f, images, labels)
                found = {kind: result.right_after, f"{kind}_outputs": result.attacked}
                if kind == "fgsm":
                    found |= {"clean": result.right_before, "clean_outputs": result.clean}
                for array, value in found.items():
                    parts.setdefault(f"{name}_{array}", []).append(value.cpu())
                done += len(images)
        arrays |= {array: torch.cat(values) for array, values in parts.items()}
    return arrays
