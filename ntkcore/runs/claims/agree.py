"""The sixth claim: architectures agree on the leading features."""

import plotly.graph_objects as go

from ntkcore import data
from ntkcore.figures.story.agree import SHOWN, architectures_agree
from ntkcore.readings.verdicts import Judgement, judge_agree
from ntkcore.runs.claims.claim import Claim, Found, arrays_of
from ntkcore.runs.comparison import COMPARED, agreement_of, compared, few
from ntkcore.runs.specs import Experiment, GradientsSpec, StageSpec
from ntkcore.runs.stages import read_agreement

DRAWN = ("FC(1)", "Conv(2)", "Myrtle-5")  # a family each


def _agree(e: Experiment) -> dict[str, StageSpec]:
    experiments = compared(e)
    pictures = {name: GradientsSpec(kernel=few(experiments[name]).kernel(), images=1) for name in DRAWN}
    return {"all": agreement_of(experiments), **pictures}


def _judge(e: Experiment, found: Found) -> Judgement:
    return judge_agree(COMPARED, read_agreement(found["all"].arrays))


def _draw(e: Experiment, found: Found, dark: bool) -> go.Figure:
    """Features of the first architecture, and of each other one their partners, turned the same way."""
    a, first = arrays_of(found["all"]), DRAWN[0]
    rows = {first: arrays_of(found[first])["gradients"][:SHOWN, 0]}
    for name in DRAWN[1:]:
        pair = COMPARED.index(name) - 1  # the first one's pairs come first
        partner, sign = a["partner"][pair][:SHOWN], a["product"][pair][:SHOWN] >= 0
        rows[name] = arrays_of(found[name])["gradients"][partner, 0] * (2.0 * sign - 1)[:, None, None, None]
    image = data.load(few(compared(e)[first]).data).x_test[0].numpy()
    return architectures_agree(image, rows, *read_agreement(found["all"].arrays).curves(COMPARED), dark=dark)


def _controls(e: Experiment, found: Found) -> dict[str, object]:
    spec = compared(e)[COMPARED[0]].data
    return {"compared": list(COMPARED), "cn": spec.n_train, "cm": spec.n_test, "cside": spec.size or "full"}


AGREE = Claim(
    "agree",
    "Architectures agree on the leading features.",
    "Above, one test image through features no. 0 to 4 (eigenvectors of the kernel) of three nets of the four: do red "
    "and blue lie in the same places? Below, how much of the space of their k leading eigenvectors two nets share.",
    "Kernels of four architectures are compared on the same images, fewer and smaller ones, since the deep ones cost "
    "much. Of each pair, the overlap of the spaces of the 20 leading eigenvectors (1: the same space) is set against "
    "what it would be on average with the images of one in random order. The 95 % interval comes from leaving out a "
    "tenth of the images at a time. The claim holds when the interval lies above the random one for every pair, in "
    "part for some pairs; it does not hold here when it does so for none and all share less than half. The pictures "
    "are gradients of the first test image; features are matched one to one and turned the same way, since the sign of "
    "an eigenvector is free.",
    ("pages/consistency.py", "Consistency"),
    _agree,
    _judge,
    _draw,
    lambda e: (agreement_of(compared(e)),),
    _controls,
)
