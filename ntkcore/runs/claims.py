"""The paper's claims, one row each: what it says, what is computed for it, how it is judged and how it is drawn.

The story page, the report and the command line tell the same rows, of whatever experiment stands in the sidebar::

    claim = CLAIMS[0]
    artifact = result(claim.spec(experiment), store)
    claim.judge(artifact).verdict                        # "holds", "holds in part", "does not hold here", "cannot tell"
    claim.figure(artifact, dark=False)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ntkcore import data
from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.intervals import share_band
from ntkcore.figures.story.attack import attack_along_eps
from ntkcore.readings.verdicts import Judgement, judge_training_free
from ntkcore.runs.specs import Experiment, StageSpec, TrainingFreeSpec, parse
from ntkcore.runs.stages.claims.training_free import STEPS
from ntkcore.runs.store import Artifact


@dataclass(frozen=True)
class Claim:
    """title: the claim in plain words. look_at: one sentence, what to look at. rule: how it is judged. page: where more
    is shown, and its name."""

    name: str
    title: str
    look_at: str
    rule: str
    page: tuple[str, str]
    spec: Callable[[Experiment], StageSpec]
    judge: Callable[[Artifact], Judgement]
    figure: Callable[..., go.Figure]


def _spec_of(artifact: Artifact) -> Any:
    return parse(artifact.stage, artifact.meta["spec"])


# -- 1 ---------------------------------------------------------------------------------------------------------------


def _training_free(e: Experiment) -> TrainingFreeSpec:
    return TrainingFreeSpec(kernel=e.infinite().kernel(), attack=fgsm(e.attack.eps, e.attack.norm))


def _judge_training_free(artifact: Artifact) -> Judgement:
    a, spec = artifact.arrays, _spec_of(artifact)
    before, after = a["right_before"].numpy(), a["right_after"][STEPS - 1].numpy()
    return judge_training_free(before, after, float(a["majority"]), str(spec.attack))


def _draw_training_free(artifact: Artifact, dark: bool = False) -> go.Figure:
    a, spec = {name: value.numpy() for name, value in artifact.arrays.items()}, _spec_of(artifact)
    classes = spec.kernel.data.classes or data.info(spec.kernel.data).classes
    right = np.concatenate([a["right_before"][None], a["right_after"]]).T
    says = [_said(outputs, classes) for outputs in a["outputs"]]
    return attack_along_eps(
        a["image"],
        a["images"],
        a["eps"],
        says,
        share_band(right),
        at=STEPS,
        chance=float(a["majority"]),
        norm=spec.attack.norm,
        dark=dark,
    )


def _said(outputs: np.ndarray, classes: tuple[str, ...]) -> str:
    return classes[int(outputs[0] > 0) if len(outputs) == 1 else int(outputs.argmax())]


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "training_free",
        "The kernel alone makes adversarial examples. No network is trained.",
        "Move the radius: the noise grows, the garment stays what it is to you, and the kernel changes its mind.",
        "All test images are attacked by FGSM on the kernel's own prediction at the radius of the sidebar. The claim "
        "holds when the accuracy that the attack takes is more than half of what the kernel has beyond guessing: the "
        "95 % interval of the difference (bootstrap over the test images) lies above 0.",
        ("pages/attack.py", "Attack"),
        _training_free,
        _judge_training_free,
        _draw_training_free,
    ),
)
