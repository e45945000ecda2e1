"""The fourth claim: robust and brittle features can be seen, and the noise goes through those that are not robust."""

import plotly.graph_objects as go

from ntkcore.figures.story.seen import features_seen
from ntkcore.readings.verdicts import Judgement, damage_by_class, judge_seen
from ntkcore.runs.claims.claim import Claim, Found, arrays_of, classes_of, every_feature
from ntkcore.runs.specs import Experiment, SeenSpec, StageSpec


def _seen(e: Experiment) -> dict[str, StageSpec]:
    return {"seen": SeenSpec(sweep=e.infinite().sweep(), rule=e.rule)}


def _judge(e: Experiment, found: Found) -> Judgement:
    a = arrays_of(found["seen"])
    on = "" if e.eigenpairs is None else f", on the sum of the {e.eigenpairs} leading features,"
    return judge_seen(a["parts"], a["counts"], f"{e.attack}{on}", bool(a["halved"]))


def _draw(e: Experiment, found: Found, dark: bool) -> go.Figure:
    a = arrays_of(found["seen"])
    return features_seen(
        a["image"],
        a["x_adv"],
        a["features"],
        a["kinds"],
        a["pictures"],
        a["group_gradients"],
        damage_by_class(a["parts"]).mean,
        dark=dark,
    )


def _controls(e: Experiment, found: Found) -> dict[str, object]:
    a = arrays_of(found["seen"])
    first, *rest = a["features"].tolist()
    return {"feature": first, "features": rest, "nth": int(a["nth"]), "shown": [classes_of(e.data)[int(a["label"])]]}


SEEN = Claim(
    "seen",
    "Features can be seen, and noise goes through those that are not robust.",
    "Above, robust features (blue frames); in the middle, brittle ones (orange), if any: which shapes can you tell? "
    "Red pixels, made brighter, help the true class. Below, the noise and its parts: red made brighter, blue darker.",
    "The prediction is a sum of features, one for each eigenvector of the kernel. Robust: right more often than "
    "chance, and under attack still on at least half (the sidebar's share) of the images on which it was right. "
    "Brittle: right more often than chance, and almost never under attack. Weak alone: not to be told from chance one "
    "by one. Features are classed on one half of the test images, where fewer may be found than on all (claim 3); on "
    "the other half, the fall of the margin (how sure the kernel is of the true class) under the attack is split over "
    "them, and the shares are of all images together, with a 95 % interval (bootstrap over images). The claim holds "
    "when brittle features alone do more than half of the damage, in part when they do less, but all that are not "
    "robust do more than half together; where no feature is robust, or none brittle, nothing can be told. What eyes "
    "see in the pictures is not judged. The image shown is, of those that the attack turns, the one of which the "
    "kernel was most sure; the features shown are the four robust and the four brittle ones of the largest "
    "eigenvalues, each picture on its own scale.",
    ("pages/eigenfeatures.py", "Eigenfeatures"),
    _seen,
    _judge,
    _draw,
    every_feature,
    _controls,
)
