"""The figures that show a stage's result by itself, for the zip of a run: a function ``(spec, artifact)`` each.

::

    of_kernel(spec, artifact)                    # {"Kernel": Figure}

``views`` says which one belongs to which stage.
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore import data
from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics, mean_cosines
from ntkcore.analysis.block_means import read_block_means
from ntkcore.analysis.features.halves import halves
from ntkcore.analysis.features.tradeoff import KEPT, reported
from ntkcore.analysis.spectrum import effective_rank
from ntkcore.figures.attacks.attack import margin_along_eps
from ntkcore.figures.attacks.training import cosine_along_training, training_curves
from ntkcore.figures.attacks.transfer import accuracy_along_eps
from ntkcore.figures.consistency import alignment_heatmap, overlap_along_k
from ntkcore.figures.drawing.strip import Picture, strip
from ntkcore.figures.evolution.concentration import spectra_at_epoch
from ntkcore.figures.features.along_index import shares_along_index
from ntkcore.figures.features.band_sums import feature_bands
from ntkcore.figures.features.eigenfeatures import usefulness_robustness
from ntkcore.figures.features.tradeoff import along_time, kept_subsets
from ntkcore.figures.kernel import block_heatmap, kernel_heatmap
from ntkcore.figures.spectrum import cumulative, eigenvalues
from ntkcore.runs import specs
from ntkcore.runs.stages import read_agreement, read_curves, read_spectrum
from ntkcore.runs.store import Artifact
from pages.ui.sections.samples import feature_rows, perturbation_row
from pages.ui.shell.services import NumpyArrays, load_task

Figures = dict[str, go.Figure]


def none_of(spec: specs.StageSpec, artifact: Artifact) -> Figures:
    """Where the arrays alone are of use."""
    return {}


def picture_spec(experiment: specs.Experiment) -> specs.StageSpec:
    """The stage whose result has the kernel as a picture: of leading eigenpairs the kernel itself is not looked at."""
    return experiment.kernel() if experiment.eigenpairs is None else experiment.spectrum()


def kernel_picture(artifact: Artifact, task: data.Task, dark: bool = False) -> go.Figure:
    """The kernel between training images, of the result of ``picture_spec``."""
    a = NumpyArrays(artifact)
    if "K" in a:
        return kernel_heatmap(a["K"], task.labels_train.numpy(), task.classes, dark=dark)
    return block_heatmap(read_block_means(a), task.classes, dark=dark)


def of_kernel(spec: specs.KernelSpec, artifact: Artifact) -> Figures:
    return {"Kernel": kernel_picture(artifact, load_task(spec.data))}


def of_spectrum(spec: specs.SpectrumSpec, artifact: Artifact) -> Figures:
    a, s = NumpyArrays(artifact), read_spectrum(artifact)
    rank = effective_rank(s.values) if s.whole else None
    return {
        "Eigenvalues": eigenvalues(a["values"], a["label_energy"]),
        "Cumulative mass": cumulative(a["values"], a["label_energy"], effective_rank=rank, trace=s.trace),
    }


def of_sweep(spec: specs.SweepSpec, artifact: Artifact) -> Figures:
    a, words = NumpyArrays(artifact), str(spec.attack)
    rho, gamma = a["usefulness"], a["robustness"]
    m, chance = len(a["labels"]), np.bincount(a["labels"]).max() / len(a["labels"])
    return {
        "Usefulness and robustness": usefulness_robustness(rho, gamma, m=m, chance=chance, attack=words),
        "Along the index": shares_along_index(rho, gamma, m=m, chance=chance),
    }


def of_curves(spec: specs.CurvesSpec, artifact: Artifact) -> Figures:
    task, words, judged = load_task(spec.sweep.kernel.data), str(spec.sweep.attack), read_curves(artifact)
    curves, count = reported(judged, halves(task.labels_test.numpy())), len(artifact.arrays["classes"])
    kept = {kind: curves[kind] for kind in KEPT if kind in curves and len(curves[kind].k)}
    return {
        "Bands of features": feature_bands(judged["bands"].curve(), count=count, attack=words),
        "Kept features": kept_subsets(kept, attack=words),
        "Along training time": along_time(curves["time"], attack=words),
    }


def of_pictures(spec: specs.PicturesSpec, artifact: Artifact) -> Figures:
    rows = feature_rows({"image": artifact.arrays}, spec.features)
    return {
        "Feature pictures": strip(rows, columns=len(spec.features) + 1),
        "Perturbation": strip(perturbation_row(artifact.arrays, "image")),
    }


def of_margins(spec: specs.FlipSpec | specs.UploadSpec, artifact: Artifact) -> Figures:
    a = NumpyArrays(artifact)
    margins = {"fgsm": a["fgsm_margin"], "pgd": a["pgd_margin"]}
    flips = {"fgsm": float(a["fgsm_flip"]), "pgd": float(a["pgd_flip"])}
    return {"Margin along eps": margin_along_eps(a["eps"], margins, flips, norm=spec.attack.norm)}


def of_moment(spec: specs.MomentSpec, artifact: Artifact) -> Figures:
    values, checkpoint = artifact.arrays["values"].numpy(), spec.checkpoint
    return {"Spectrum": spectra_at_epoch({checkpoint.run.regime: values}, checkpoint.epoch)}


def of_tangent_features(spec: specs.TangentFeaturesSpec, artifact: Artifact) -> Figures:
    pictures = enumerate(artifact.arrays["gradients"].numpy())
    return {"Eigenfeatures": strip([Picture(picture, f"feature {i}", signed=True) for i, picture in pictures])}


def of_training(spec: specs.TwinSpec | specs.NetworkSpec, artifact: Artifact) -> Figures:
    a, name = NumpyArrays(artifact), spec.group()
    found = {"Training loss": training_curves({name: (np.arange(len(a["loss"])), a["loss"])})}
    if len(a["cosine_steps"]):
        found["Cosine along training"] = cosine_along_training({name: mean_cosines(a["cosine_steps"], [a["cosine"]])})
    return found


def of_transfer(spec: specs.TransferSpec, artifact: Artifact) -> Figures:
    source, name = specs.source_key(spec), spec.target.short_name()
    line = TransferStatistics({(name, 0, source): NumpyArrays(artifact)})
    panel = {name: {source: line.accuracy(name, source)}}
    return {"Accuracy along eps": accuracy_along_eps(np.array(spec.perturb.eps), panel, norm=spec.perturb.norm)}


def of_gradients(spec: specs.GradientsSpec, artifact: Artifact) -> Figures:
    first = enumerate(artifact.arrays["gradients"][:, 0].numpy())
    shown = [Picture(picture, f"feature {i}", signed=True) for i, picture in first]
    return {"Gradients at the first test image": strip(shown, columns=10)}


def of_consistency(spec: specs.ConsistencySpec, artifact: Artifact) -> Figures:
    names, agreed = [str(kernel.net.build()) for kernel in spec.kernels], read_agreement(artifact.arrays)
    return {
        "Alignment": alignment_heatmap(names, agreed.alignment, quantity="centred alignment"),
        "Overlap of eigenspaces": overlap_along_k(*agreed.curves(names)),
    }
