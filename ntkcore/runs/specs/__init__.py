"""What an experiment is: frozen, validated descriptions with a canonical JSON form and a key.

A spec holds every field that changes a result and nothing that does not (device, tile size and workers stay out).
The same description is the sidebar, the URL, the command line and the cache key. A key covers all fields, defaults
too, and the stage's name and integer version::

    e = Experiment(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
    key(e.sweep())                              # 32 hex digits: names the artifact of this sweep
    parse("sweep", {...})                       # JSON back to a spec, SpecError in words
"""

from ntkcore.errors import SpecError
from ntkcore.runs.specs.base import StageSpec, canonical, key
from ntkcore.runs.specs.checkpoints import EpochSpec, NamedNet, NetSpec, RunSpec, TwinNet
from ntkcore.runs.specs.evolution import (
    MOTION,
    REGIME_NAMES,
    REGIMES,
    Evolution,
    FrozenSpec,
    GlimpseSpec,
    MomentSpec,
    ScoreSpec,
    TangentSpec,
    checkpoint_of,
    run_of,
)
from ntkcore.runs.specs.experiment import Experiment, experiment_from_json, experiment_of
from ntkcore.runs.specs.kernels import (
    CurvesSpec,
    FlipSpec,
    KernelSpec,
    PicturesSpec,
    PredictSpec,
    Rule,
    SpectrumSpec,
    SweepSpec,
    UploadSpec,
)
from ntkcore.runs.specs.nets import (
    ConsistencySpec,
    GradientsSpec,
    KernelModel,
    Model,
    NetworkSpec,
    Noise,
    PathSpec,
    PerturbSpec,
    TransferSpec,
    TwinSpec,
)
from ntkcore.runs.specs.story import OUTSIDE, SOURCES, TWIN_PLAIN, Story, radii, source_key
from ntkcore.runs.specs.words import balance_in_words, describe, model_name, net_name

STAGE_SPECS: dict[str, type[StageSpec]] = {
    c.stage: c
    for c in (
        KernelSpec,
        SpectrumSpec,
        PredictSpec,
        SweepSpec,
        CurvesSpec,
        PicturesSpec,
        FlipSpec,
        UploadSpec,
        TwinSpec,
        NetworkSpec,
        PerturbSpec,
        TransferSpec,
        PathSpec,
        ConsistencySpec,
        GradientsSpec,
        *MOTION,
    )
}


def parse(stage: str, fields: dict) -> StageSpec:
    """A stage's spec from its JSON fields. Raises SpecError in words for anything that does not fit."""
    if stage not in STAGE_SPECS:
        raise SpecError(f"There is no stage {stage!r}; choose one of {', '.join(STAGE_SPECS)}.")
    return STAGE_SPECS[stage].model_validate(fields)


__all__ = [
    "MOTION",
    "OUTSIDE",
    "REGIMES",
    "REGIME_NAMES",
    "SOURCES",
    "STAGE_SPECS",
    "TWIN_PLAIN",
    "ConsistencySpec",
    "CurvesSpec",
    "EpochSpec",
    "Evolution",
    "Experiment",
    "FlipSpec",
    "FrozenSpec",
    "GlimpseSpec",
    "GradientsSpec",
    "KernelModel",
    "KernelSpec",
    "Model",
    "MomentSpec",
    "NamedNet",
    "NetSpec",
    "NetworkSpec",
    "Noise",
    "PathSpec",
    "PerturbSpec",
    "PicturesSpec",
    "PredictSpec",
    "Rule",
    "RunSpec",
    "ScoreSpec",
    "SpectrumSpec",
    "StageSpec",
    "Story",
    "SweepSpec",
    "TangentSpec",
    "TransferSpec",
    "TwinNet",
    "TwinSpec",
    "UploadSpec",
    "balance_in_words",
    "canonical",
    "checkpoint_of",
    "describe",
    "experiment_from_json",
    "experiment_of",
    "key",
    "model_name",
    "net_name",
    "parse",
    "radii",
    "run_of",
    "source_key",
]
