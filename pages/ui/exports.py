"""One run out of the cache: its figures, a zip with spec, arrays and figures, and the way back into the sidebar.

::

    run_zip(entry)            # bytes: spec.json, arrays.safetensors, meta.json, figures as HTML
    open_run(entry)           # in a callback: the sidebar takes the run's experiment, its page opens
"""

import json

import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.spectrum import effective_rank
from ntkcore.analysis.tradeoff import KEPT, Curve
from ntkcore.errors import NTKError
from ntkcore.figures import export
from ntkcore.figures.accuracy import along_time, kept_subsets
from ntkcore.figures.along_index import shares_along_index
from ntkcore.figures.attack import margin_along_eps
from ntkcore.figures.eigenfeatures import usefulness_robustness
from ntkcore.figures.kernel import kernel_heatmap
from ntkcore.figures.spectrum import cumulative, eigenvalues
from ntkcore.figures.strip import strip
from ntkcore.runs import specs
from ntkcore.runs.store import Artifact
from pages.ui import sidebar
from pages.ui.pictures import feature_rows, perturbation_row
from pages.ui.services import load_task, services

PAGES = {
    "kernel": "pages/spectrum.py",
    "spectrum": "pages/spectrum.py",
    "predict": "pages/overview.py",
    "sweep": "pages/eigenfeatures.py",
    "curves": "pages/eigenfeatures.py",
    "pictures": "pages/eigenfeatures.py",
    "flip": "pages/attack.py",
}


def open_run(entry: Artifact) -> None:
    """Set the sidebar to the run's experiment and go to the page that shows it."""
    spec = specs.parse(entry.stage, entry.meta["spec"])
    sidebar.apply(specs.experiment_of(spec))
    index = getattr(spec, "index", None)
    own = {"image": str(index)} if entry.stage == "flip" else {}
    st.switch_page(PAGES[entry.stage], query_params=own)


def spec_of(entry: Artifact) -> specs.StageSpec | None:
    """What the run was of; None when another version of the app wrote it in a way that this one does not know."""
    try:
        return specs.parse(entry.stage, entry.meta.get("spec"))
    except NTKError:
        return None


def net_in_words(entry: Artifact) -> str:
    """The run's architecture and attack, short: "FC(1) NTK, FGSM ℓ∞ eps 8/255"."""
    spec = spec_of(entry)
    if spec is None:
        return "of another version"
    experiment = specs.experiment_of(spec)
    attack = "" if entry.stage in ("kernel", "spectrum") else f", {experiment.attack}"
    return f"{experiment.net.build()} {experiment.kind.upper()}{attack}"


def run_zip(entry: Artifact) -> bytes:
    """The run as a zip: spec.json (an experiment for the command line), arrays, meta, figures as HTML."""
    spec = specs.parse(entry.stage, entry.meta["spec"])
    text = json.dumps(specs.experiment_of(spec).model_dump(mode="json"), indent=2)
    files = {"experiment.json": text.encode()}
    artifact = services().store.get(entry.stage, entry.key)
    if artifact is not None:
        pictures = figures_of(spec, artifact)
        if pictures:
            files |= {f"figures/{name}": content for name, content in export.directory_files(pictures).items()}
    return services().store.export_zip(entry.stage, entry.key, files)


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
        m, chance = len(a["right_before"]), float(a["majority"])
        return {
            "Usefulness and robustness": usefulness_robustness(rho, gamma, m=m, chance=chance, attack=words),
            "Along the index": shares_along_index(rho, gamma, m=m, chance=chance),
        }
    if isinstance(spec, specs.CurvesSpec):
        kept = {kind: Curve(a[f"{kind}_k"], a[f"{kind}_clean"], a[f"{kind}_attacked"]) for kind in KEPT}
        words = str(spec.sweep.attack)
        return {
            "Kept features": kept_subsets({kind: c for kind, c in kept.items() if len(c.k)}, attack=words),
            "Along training time": along_time(a["time_k"], a["time_clean"], a["time_attacked"], attack=words),
        }
    if isinstance(spec, specs.PicturesSpec):
        rows = feature_rows({"image": artifact.arrays}, spec.features)
        return {
            "Feature pictures": strip(rows, columns=len(spec.features) + 1),
            "Perturbation": strip(perturbation_row(artifact.arrays, "image")),
        }
    if isinstance(spec, specs.FlipSpec):
        margins = {"fgsm": a["fgsm_margin"], "pgd": a["pgd_margin"]}
        return {"Margin along eps": margin_along_eps(a["eps"], margins, norm=spec.attack.norm)}
    return {}
