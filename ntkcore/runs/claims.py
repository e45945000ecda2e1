"""The paper's claims, one row each: what it says, what is computed for it, how it is judged and how it is drawn.

The story page, the report and the command line tell the same rows, of whatever experiment stands in the sidebar::

    claim = CLAIMS[0]
    found = {name: result(spec, store) for name, spec in claim.specs(experiment).items()}
    claim.judge(experiment, found).verdict               # "holds", "holds in part", "does not hold here", "cannot tell"
    claim.figure(experiment, found, dark=False)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from ntkcore import data
from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.intervals import share_band
from ntkcore.figures.story.attack import attack_along_eps
from ntkcore.readings.verdicts import Judgement, judge_training_free
from ntkcore.runs.specs import Experiment, StageSpec, TrainingFreeSpec
from ntkcore.runs.stages.claims.training_free import STEPS
from ntkcore.runs.store import Artifact

Found = Mapping[str, Artifact]


@dataclass(frozen=True)
class Claim:
    """title: the claim in plain words. look_at: one sentence, what to look at. rule: how it is judged. page: where more
    is shown, and its name."""

    name: str
    title: str
    look_at: str
    rule: str
    page: tuple[str, str]
    specs: Callable[[Experiment], dict[str, StageSpec]]
    judge: Callable[[Experiment, Found], Judgement]
    figure: Callable[[Experiment, Found, bool], go.Figure]


def _arrays(artifact: Artifact) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in artifact.arrays.items()}


def _said(outputs: np.ndarray, spec: data.DataSpec) -> str:
    """The class that a row of outputs [c] stands for, by name."""
    classes = spec.classes or data.info(spec).classes
    return classes[int(outputs[0] > 0) if len(outputs) == 1 else int(outputs.argmax())]


# -- 1 ---------------------------------------------------------------------------------------------------------------


def _training_free(e: Experiment) -> dict[str, StageSpec]:
    return {"all": TrainingFreeSpec(kernel=e.infinite().kernel(), eps=e.attack.eps, norm=e.attack.norm)}


def _judge_training_free(e: Experiment, found: Found) -> Judgement:
    a, attack = _arrays(found["all"]), fgsm(e.attack.eps, e.attack.norm)
    return judge_training_free(a["right_before"], a["right_after"][STEPS - 1], float(a["majority"]), str(attack))


def _draw_training_free(e: Experiment, found: Found, dark: bool) -> go.Figure:
    a = _arrays(found["all"])
    right = np.concatenate([a["right_before"][None], a["right_after"]]).T
    return attack_along_eps(
        a["image"],
        a["images"],
        a["eps"],
        [_said(outputs, e.data) for outputs in a["outputs"]],
        share_band(right),
        at=STEPS,
        chance=float(a["majority"]),
        norm=e.attack.norm,
        dark=dark,
    )


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
