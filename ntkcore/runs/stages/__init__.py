"""Stages: each result that a page shows is one class, in one file. The only composers of data, kernels, nets, attacks.

Begin with ``stage``, which says what a stage is and runs it; ``together`` runs several. The rooms: ``kernel_side`` (a
kernel, its spectrum, its features), ``finite`` (nets trained at once, and transfer), ``motion`` (nets trained epoch by
epoch), ``claims`` (what the story shows of them). Beside them ``nets`` (how nets are described), ``sizes`` (how much
work they are), ``phrases`` (descriptions in words)::

    store = Store("cache")
    artifact = result(experiment.sweep(), store)         # computes what is missing, then reads it
    execute(request(experiment.sweep()), store, None)    # the same, as the worker does it
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ntkcore.runs.stages import claims, finite, kernel_side, motion
from ntkcore.runs.stages.claims.flipped import FlippedSpec
from ntkcore.runs.stages.claims.robust_features import RobustFeatures, RobustFeaturesSpec, read_robust_features
from ntkcore.runs.stages.claims.seen import SeenSpec
from ntkcore.runs.stages.claims.training_free import TrainingFreeSpec
from ntkcore.runs.stages.finite.models import KernelModel, Model, Noise
from ntkcore.runs.stages.finite.path import PathSpec
from ntkcore.runs.stages.finite.perturb import PerturbSpec
from ntkcore.runs.stages.finite.training import NetworkSpec, TrainedSpec, TwinSpec
from ntkcore.runs.stages.finite.transfer import TransferSpec
from ntkcore.runs.stages.kernel_side.consistency import ConsistencySpec, read_agreement
from ntkcore.runs.stages.kernel_side.curves import CurvesSpec, Rule, read_curves
from ntkcore.runs.stages.kernel_side.flip import IMAGE, FlipSpec, UploadSpec, image_name, keep_image
from ntkcore.runs.stages.kernel_side.gradients import GradientsSpec
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec, Kind, Precision, kernel_of
from ntkcore.runs.stages.kernel_side.pictures import PicturesSpec
from ntkcore.runs.stages.kernel_side.predict import PredictSpec
from ntkcore.runs.stages.kernel_side.solution import SolutionSpec
from ntkcore.runs.stages.kernel_side.spectrum import ALL_UP_TO, LEADING, SpectrumSpec, read_spectrum, usual_leading
from ntkcore.runs.stages.kernel_side.sweep import SweepSpec, read_null, read_sweep
from ntkcore.runs.stages.motion.epoch import EpochSpec
from ntkcore.runs.stages.motion.frozen import FrozenSpec
from ntkcore.runs.stages.motion.moment import MomentSpec
from ntkcore.runs.stages.motion.score import ScoreSpec
from ntkcore.runs.stages.motion.tangent import TangentSpec
from ntkcore.runs.stages.motion.tangent_features import TangentFeaturesSpec
from ntkcore.runs.stages.nets import NamedNet, NetSpec, Regime, RunSpec, TwinNet
from ntkcore.runs.stages.stage import STAGES, Context, StageSpec, canonical, forward_only, key, portion, result
from ntkcore.runs.stages.together import beforehand, execute, missing, parse
from ntkcore.runs.store import Store

for _room in (kernel_side, finite, motion, claims):
    for _module in iter_modules(_room.__path__, f"{_room.__name__}."):
        import_module(_module.name)  # a stage is known once its class is made

MOTION = (EpochSpec, ScoreSpec, TangentSpec, MomentSpec, FrozenSpec, TangentFeaturesSpec)


def request(spec: StageSpec, device: str = "auto", data_root: str | None = None) -> dict[str, Any]:
    """The worker's request for a spec, as plain JSON."""
    return {"stage": spec.stage, "spec": spec.model_dump(mode="json"), "device": device, "data_root": data_root}


def batch(requests: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> dict[str, Any]:
    """One request for several, done in order; their results appear in the store one by one."""
    return {"batch": [dict(part) for part in requests], "weights": [float(weight) for weight in weights]}


__all__ = [
    "ALL_UP_TO",
    "IMAGE",
    "LEADING",
    "MOTION",
    "STAGES",
    "ConsistencySpec",
    "Context",
    "CurvesSpec",
    "EpochSpec",
    "FlipSpec",
    "FlippedSpec",
    "FrozenSpec",
    "TangentFeaturesSpec",
    "GradientsSpec",
    "KernelModel",
    "KernelSpec",
    "Kind",
    "Model",
    "MomentSpec",
    "NamedNet",
    "NetSpec",
    "NetworkSpec",
    "Noise",
    "PathSpec",
    "PerturbSpec",
    "PicturesSpec",
    "Precision",
    "PredictSpec",
    "Regime",
    "RobustFeatures",
    "RobustFeaturesSpec",
    "Rule",
    "RunSpec",
    "ScoreSpec",
    "SeenSpec",
    "SolutionSpec",
    "SpectrumSpec",
    "StageSpec",
    "Store",
    "SweepSpec",
    "TangentSpec",
    "TrainedSpec",
    "TrainingFreeSpec",
    "TransferSpec",
    "TwinNet",
    "TwinSpec",
    "UploadSpec",
    "batch",
    "beforehand",
    "canonical",
    "execute",
    "forward_only",
    "image_name",
    "keep_image",
    "kernel_of",
    "key",
    "missing",
    "parse",
    "portion",
    "read_agreement",
    "read_curves",
    "read_null",
    "read_robust_features",
    "read_spectrum",
    "read_sweep",
    "request",
    "result",
    "usual_leading",
]
