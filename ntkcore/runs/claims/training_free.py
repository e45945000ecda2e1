"""The first claim: the kernel makes adversarial examples, and no network is trained."""

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.intervals import share_band
from ntkcore.analysis.predict import class_numbers
from ntkcore.figures.story.attack import attack_along_eps
from ntkcore.readings.verdicts import Judgement, judge_training_free
from ntkcore.runs.claims.claim import Claim, Found, arrays_of, classes_of
from ntkcore.runs.specs import Experiment, StageSpec, TrainingFreeSpec
from ntkcore.runs.stages.claims.training_free import STEPS


def _training_free(e: Experiment) -> dict[str, StageSpec]:
    e = e.infinite()
    attack = {"eps": e.attack.eps, "norm": e.attack.norm}
    return {"all": TrainingFreeSpec(kernel=e.kernel(), leading=e.eigenpairs, **attack)}


def _judge_training_free(e: Experiment, found: Found) -> Judgement:
    a, attack = arrays_of(found["all"]), fgsm(e.attack.eps, e.attack.norm)
    return judge_training_free(a["right_before"], a["right_after"][STEPS - 1], float(a["majority"]), str(attack))


def _draw_training_free(e: Experiment, found: Found, dark: bool) -> go.Figure:
    a = arrays_of(found["all"])
    right = np.concatenate([a["right_before"][None], a["right_after"]]).T
    return attack_along_eps(
        a["image"],
        a["images"],
        a["eps"],
        [classes_of(e.data)[code] for code in class_numbers(found["all"].arrays["outputs"]).tolist()],
        share_band(right),
        at=STEPS,
        chance=float(a["majority"]),
        norm=e.attack.norm,
        dark=dark,
    )


TRAINING_FREE = Claim(
    "training_free",
    "The kernel alone makes adversarial examples. No network is trained.",
    "Move the radius, and the noise grows. Which class would you name, and which one does the kernel?",
    "All test images are attacked by FGSM on the kernel's own prediction at the radius of the sidebar. The claim "
    "holds when the accuracy that the attack takes is more than half of what the kernel has beyond guessing: the "
    "95 % interval of the difference (bootstrap over the test images) lies above 0. A kernel that is not shown to be "
    "better than guessing tells nothing.",
    ("pages/attack.py", "Attack"),
    _training_free,
    _judge_training_free,
    _draw_training_free,
    lambda e: (e.predict(),),
    lambda e, found: {"image": int(found["all"].arrays["index"])},
)
