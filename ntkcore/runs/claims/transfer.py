"""The second claim: what fools the kernel fools networks, and the wider the more (Tsilivis & Kempe 2022, section 3).

::

    found = {name: result(spec, store) for name, spec in TRANSFER.specs(experiment).items()}
    TRANSFER.judge(experiment, found).verdict
"""

import plotly.graph_objects as go

from ntkcore import data
from ntkcore.analysis.attacks.balls import BALLS
from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics
from ntkcore.figures.story.transfer import transfer_along_width
from ntkcore.readings.verdicts import Judgement, judge_transfer
from ntkcore.runs.claims.claim import Claim, Found, arrays_of
from ntkcore.runs.specs import FIRST_WIDTHS, Experiment, FlippedSpec, StageSpec, Story, TransferSpec, radii

TRAINED, TESTED = 500, 300  # images at most
SOURCES = ("white_fgsm", "kernel_fgsm", "noise")
PICTURES = "pictures"

Key = tuple[str, int, str]


def story_of(e: Experiment) -> Story:
    """The nets and attacks that judge the claim: those of the Transfer page, on fewer images.

    The radii reach to twice the sidebar's where pixels allow.
    """
    few = e.data.replace(n_train=min(e.data.n_train, TRAINED), n_test=min(e.data.n_test, TESTED))
    largest = e.attack.eps if e.attack.norm == "linf" and e.attack.eps > 0.5 else 2 * e.attack.eps
    widths = FIRST_WIDTHS[e.net.family]
    return Story(kernel=e.replace(data=few).ntk(), widths=widths, eps=radii(largest), norm=e.attack.norm)


def transfers_of(story: Story) -> dict[Key, TransferSpec]:
    """Those of the story's transfers that the claim needs."""
    return {name: spec for name, spec in story.transfers().items() if name[2] in SOURCES}


def _name(key: Key) -> str:
    return " ".join(map(str, key))


def _specs(e: Experiment) -> dict[str, StageSpec]:
    story = story_of(e)
    wanted: dict[str, StageSpec] = {_name(key): spec for key, spec in transfers_of(story).items()}
    seen = story.transfers()[f"width {max(story.widths)}", 0, "kernel_fgsm"]
    return wanted | {PICTURES: FlippedSpec(transfer=seen, at=_at(e, story))}


def _at(e: Experiment, story: Story) -> int:
    """The number of the sidebar's radius."""
    return story.eps.index(e.attack.eps)


def _line(story: Story, found: Found) -> TransferStatistics:
    return TransferStatistics({key: arrays_of(found[_name(key)]) for key in transfers_of(story)})


def _judge(e: Experiment, found: Found) -> Judgement:
    story, chance = story_of(e), float(arrays_of(found[PICTURES])["majority"])
    return judge_transfer(_line(story, found), story.widths, _at(e, story), chance)


def _draw(e: Experiment, found: Found, dark: bool) -> go.Figure:
    story, a = story_of(e), arrays_of(found[PICTURES])
    line, at, classes = _line(story, found), _at(e, story), e.data.classes or data.info(e.data).classes
    says = [(classes[int(label)], classes[int(said)]) for label, said in zip(a["labels"], a["says"], strict=True)]
    shares = {source: line.recovered_along(story.widths, at, source).band for source in story.sources()}
    return transfer_along_width(story.widths, shares["kernel_fgsm"], shares.get("noise"), a["x_adv"], says, dark=dark)


def _controls(e: Experiment, found: Found) -> dict[str, object]:
    story = story_of(e)
    few, radius = story.kernel.data, max(story.eps) * BALLS[story.norm].unit
    widths = list(story.widths)
    return {"n": few.n_train, "images": few.n_test, "widths": widths, "seeds": story.seeds, "radius": radius}


TRANSFER = Claim(
    "transfer",
    "What fools the kernel fools networks, and the wider the more.",
    "Follow the line to the right, to wider networks: where it rises, the kernel's noise comes closer to an attack "
    "that sees the network. Grey: random noise of the same size.",
    "Networks of several widths, two seeds each, are trained on at most 500 training images and attacked on at most "
    "300 test images at the radius of the sidebar: by FGSM on the kernel, which never sees them, and by FGSM on the "
    "network itself (the white box). What the first takes of their accuracy as a share of what the second takes is "
    "judged by 95 % intervals (bootstrap over test images and seeds). The claim holds when the share at the widest "
    "network is above one half, when it is larger there than at the narrowest, and when random signs of the same size "
    "take less than half of what the kernel's perturbation takes. It holds in part when only one of the first two "
    "holds, or when random signs come too close. Networks that are no better than guessing tell nothing.",
    ("pages/transfer.py", "Transfer"),
    _specs,
    _judge,
    _draw,
    lambda e: tuple(story_of(e).transfers().values()),
    _controls,
)
