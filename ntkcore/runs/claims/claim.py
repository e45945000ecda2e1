"""What a claim of the paper is here: its words, what is computed for it, how it is judged and drawn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from ntkcore import data
from ntkcore.readings.verdicts import Judgement
from ntkcore.runs.specs import Experiment, StageSpec
from ntkcore.runs.store import Artifact

Found = Mapping[str, Artifact]


@dataclass(frozen=True)
class Claim:
    """title: the claim in plain words. look_at: one sentence, what to look at. rule: how it is judged. page: where more
    is shown, and its name. closer: what that page computes of it. controls: of that page, by their keys, so that it
    shows the same."""

    name: str
    title: str
    look_at: str
    rule: str
    page: tuple[str, str]
    specs: Callable[[Experiment], dict[str, StageSpec]]
    judge: Callable[[Experiment, Found], Judgement]
    figure: Callable[[Experiment, Found, bool], go.Figure]
    closer: Callable[[Experiment], tuple[StageSpec, ...]]
    controls: Callable[[Experiment, Found], dict[str, object]] = lambda e, found: {}


def every_feature(e: Experiment) -> tuple[StageSpec, ...]:
    """What the Eigenfeatures page computes."""
    return e.sweep(), e.spectrum(), e.curves()


def arrays_of(artifact: Artifact) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in artifact.arrays.items()}


def classes_of(spec: data.DataSpec) -> tuple[str, ...]:
    """The names of the classes, in their order."""
    return spec.classes or data.info(spec).classes
