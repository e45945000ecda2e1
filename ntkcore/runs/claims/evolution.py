"""The seventh claim: under adversarial training the kernel turns lazy earlier, and concentrates (Tsilivis & Kempe
2022, section 5).

::

    found = {name: result(spec, store) for name, spec in EVOLUTION.specs(experiment).items()}
    EVOLUTION.judge(experiment, found).verdict
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.evolution.histories import Histories, Key
from ntkcore.analysis.evolution.motion import TOP
from ntkcore.figures.story.evolution import calming
from ntkcore.readings.evolution import median_seed
from ntkcore.readings.verdicts import Judgement, judge_evolution
from ntkcore.runs.claims.claim import Claim, Found, arrays_of
from ntkcore.runs.specs import REGIME_NAMES, Evolution, Experiment, StageSpec

LAZY_BELOW = 0.1  # of the first velocity


def evolution_of(e: Experiment) -> Evolution:
    """Three seeds of both trainings, as the Evolution page has them by default."""
    probe = min(Evolution().probe, e.data.n_train)
    return Evolution(data=e.data, inputs=e.inputs, fgsm=fgsm(e.attack.eps, e.attack.norm), probe=probe)


def _moments(evolution: Evolution) -> dict[Key, StageSpec]:
    return {key: spec for key, spec in evolution.wanted().items() if key[3] == "moment"}


def _name(key: Key) -> str:
    return " ".join(map(str, key))


def _specs(e: Experiment) -> dict[str, StageSpec]:
    return {_name(key): spec for key, spec in _moments(evolution_of(e)).items()}


def _history(evolution: Evolution, found: Found) -> Histories:
    arrays = {key: arrays_of(found[_name(key)]) for key in _moments(evolution)}
    return Histories(arrays, evolution.epochs, evolution.looks(), evolution.regimes, evolution.seeds)


def _judge(e: Experiment, found: Found) -> Judgement:
    evolution = evolution_of(e)
    history = _history(evolution, found)
    names = {regime: REGIME_NAMES[regime] for regime in evolution.regimes}
    lazy = {name: history.lazy(regime, LAZY_BELOW).tolist() for regime, name in names.items()}
    late = {name: history.late(regime).tolist() for regime, name in names.items()}
    gathered = {name: history.concentration(regime, TOP) for regime, name in names.items()}
    return judge_evolution(REGIME_NAMES["fgsm"], lazy, late, gathered, LAZY_BELOW, evolution.epochs)


def _draw(e: Experiment, found: Found, dark: bool) -> go.Figure:
    evolution = evolution_of(e)
    history = _history(evolution, found)
    since = {regime: median_seed(history.lazy(regime, LAZY_BELOW)) for regime in evolution.regimes}
    return calming(
        evolution.looks(),
        {regime: history.slowing(regime) for regime in evolution.regimes},
        {regime: history.share(regime, TOP) for regime in evolution.regimes},
        {regime: int(epoch) for regime, epoch in since.items() if np.isfinite(epoch)},
        lazy_below=LAZY_BELOW,
        top=TOP,
        dark=dark,
    )


def _controls(e: Experiment, found: Found) -> dict[str, object]:
    evolution = evolution_of(e)
    regimes = [REGIME_NAMES[regime] for regime in evolution.regimes]
    return {"regimes": regimes, "epochs": evolution.epochs, "eseeds": evolution.seeds, "share": LAZY_BELOW}


EVOLUTION = Claim(
    "evolution",
    "Trained on attacked images, a network's kernel settles earlier and concentrates.",
    "Press play: the kernel is the network's own, taken after every epoch. One that stays below the dotted "
    "line has settled; a higher share means that fewer eigenvalues carry the kernel.",
    "The smaller of the paper's networks is trained on clean images (standard) and on images that FGSM perturbs at "
    "the radius of the sidebar, three seeds each, and its kernel is taken after every epoch on the same 128 training "
    "images (fewer where there are not so many). A kernel is lazy from the epoch on from which every step (1 − its "
    "cosine with the kernel of the next epoch) is below 10 % of the first step. Three parts are judged seed by seed: "
    "lazy earlier (an exact rank test at 5 %), slower over the second half of training (95 % interval of the ratio), "
    "and more concentrated at the end (share of the 20 largest eigenvalues, effective rank, and what is left of the "
    "squares; 95 % intervals). The claim holds when all three do, and in part when some do.",
    ("pages/evolution.py", "Evolution"),
    _specs,
    _judge,
    _draw,
    lambda e: tuple(evolution_of(e).wanted().values()),
    _controls,
)
