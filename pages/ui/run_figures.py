"""The figures that show a run out of the cache, for its zip.

::

    figures_of(spec, artifact)                   # {"Kernel": Figure}
"""

import numpy as np
import plotly.graph_objects as go

from ntkcore.analysis.halves import halves
from ntkcore.analysis.spectrum import effective_rank
from ntkcore.analysis.storyline import Storyline, along_steps
from ntkcore.analysis.tradeoff import KEPT, reported
from ntkcore.figures.accuracy import along_time, kept_subsets
from ntkcore.figures.along_index import shares_along_index
from ntkcore.figures.along_steps import cosine_along_training, training_curves
from ntkcore.figures.attack import margin_along_eps
from ntkcore.figures.consistency import alignment_heatmap, overlap_along_k
from ntkcore.figures.dyadic import feature_bands
from ntkcore.figures.eigenfeatures import usefulness_robustness
from ntkcore.figures.kernel import kernel_heatmap
from ntkcore.figures.kernel_concentration import spectra_at_epoch
from ntkcore.figures.spectrum import cumulative, eigenvalues
from ntkcore.figures.strip import Picture, strip
from ntkcore.figures.transfer import accuracy_along_eps
from ntkcore.runs import specs
from ntkcore.runs.stages import read_curves
from ntkcore.runs.stages.consistency import read_agreement
from ntkcore.runs.store import Artifact
from pages.ui.pictures import feature_rows, perturbation_row
from pages.ui.services import load_task


def figures_of(spec: specs.StageSpec, artifact: Artifact) -> dict[str, go.Figure]:
    """The figures that show a stage's result, by title."""
    a = {name: value.numpy() for name, value in artifact.arrays.items()}
    if isinstance(spec, specs.KernelSpec):
        task = load_task(spec.data)
        return {"Kernel": kernel_heatmap(a["K"], task.labels_train.numpy(), task.classes)}
    if isinstance(spec, specs.SpectrumSpec):
        rank = effective_rank(artifact.arrays["values"])
        return {
            "Eigenvalues": eigenvalues(a["values"], a["label_energy"]),
            "Cumulative mass": cumulative(a["values"], a["label_energy"], effective_rank=rank),
        }
    if isinstance(spec, specs.SweepSpec):
        rho, gamma, words = a["usefulness"], a["robustness"], str(spec.attack)
        m, chance = len(a["labels"]), np.bincount(a["labels"]).max() / len(a["labels"])
        return {
            "Usefulness and robustness": usefulness_robustness(rho, gamma, m=m, chance=chance, attack=words),
            "Along the index": shares_along_index(rho, gamma, m=m, chance=chance),
        }
    if isinstance(spec, specs.CurvesSpec):
        task, words, judged = load_task(spec.sweep.kernel.data), str(spec.sweep.attack), read_curves(artifact)
        curves = reported(judged, halves(task.labels_test.numpy()))
        kept = {kind: curves[kind] for kind in KEPT if kind in curves and len(curves[kind].k)}
        return {
            "Bands of features": feature_bands(judged["bands"].curve(), count=len(a["classes"]), attack=words),
            "Kept features": kept_subsets(kept, attack=words),
            "Along training time": along_time(curves["time"], attack=words),
        }
    if isinstance(spec, specs.PicturesSpec):
        rows = feature_rows({"image": artifact.arrays}, spec.features)
        return {
            "Feature pictures": strip(rows, columns=len(spec.features) + 1),
            "Perturbation": strip(perturbation_row(artifact.arrays, "image")),
        }
    if isinstance(spec, specs.FlipSpec | specs.UploadSpec):
        margins = {"fgsm": a["fgsm_margin"], "pgd": a["pgd_margin"]}
        flips = {"fgsm": float(a["fgsm_flip"]), "pgd": float(a["pgd_flip"])}
        return {"Margin along eps": margin_along_eps(a["eps"], margins, flips, norm=spec.attack.norm)}
    if isinstance(spec, specs.MOTION):
        return _of_motion(spec, a)
    return _of_nets(spec, a)


def _of_motion(spec: specs.StageSpec, a: dict[str, np.ndarray]) -> dict[str, go.Figure]:
    """Figures of one epoch of a net's training."""
    if isinstance(spec, specs.MomentSpec):
        regime, epoch = specs.run_of(spec).regime, specs.checkpoint_of(spec).epoch
        return {"Spectrum": spectra_at_epoch({regime: a["values"]}, epoch)}
    if isinstance(spec, specs.GlimpseSpec):
        pictures = [Picture(picture, f"feature {i}", signed=True) for i, picture in enumerate(a["gradients"])]
        return {"Eigenfeatures": strip(pictures)}
    return {}


def _of_nets(spec: specs.StageSpec, a: dict[str, np.ndarray]) -> dict[str, go.Figure]:
    """Figures of the stages with finite nets, and of the comparison of architectures."""
    if isinstance(spec, specs.TwinSpec | specs.NetworkSpec):
        name = f"width {spec.width}" if isinstance(spec, specs.TwinSpec) else spec.name
        found = {"Training loss": training_curves({name: (np.arange(len(a["loss"])), a["loss"])})}
        if len(a["cosine_steps"]):
            along = {name: along_steps(a["cosine_steps"], [a["cosine"]])}
            found["Cosine along training"] = cosine_along_training(along)
        return found
    if isinstance(spec, specs.TransferSpec):
        source, name = specs.source_key(spec), specs.model_name(spec.target).split(", trained")[0]
        line = Storyline({(name, 0, source): a})
        panel = {name: {source: line.accuracy(name, source)}}
        return {"Accuracy along eps": accuracy_along_eps(np.array(spec.perturb.eps), panel, norm=spec.perturb.norm)}
    if isinstance(spec, specs.GradientsSpec):
        shown = [Picture(picture, f"feature {i}", signed=True) for i, picture in enumerate(a["gradients"][:, 0])]
        return {"Gradients at the first test image": strip(shown, columns=10)}
    if isinstance(spec, specs.ConsistencySpec):
        names, agreed = [str(kernel.net.build()) for kernel in spec.kernels], read_agreement(a)
        return {
            "Alignment": alignment_heatmap(names, agreed.alignment, quantity="centred alignment"),
            "Overlap of eigenspaces": overlap_along_k(*agreed.curves(names)),
        }
    return {}
