"""One run out of the cache: its figures, a zip with spec, arrays and figures, and the way back into the sidebar.

::

    run_zip(entry)            # bytes: spec.json, arrays.safetensors, meta.json, figures as HTML
    open_run(entry)           # in a callback: the sidebar takes the run's experiment, its page opens
"""

import json

from ntkcore.errors import NTKError
from ntkcore.figures import export
from ntkcore.runs import specs
from ntkcore.runs.stages import IMAGE
from ntkcore.runs.store import Artifact
from pages.ui import evolutions, sidebar, stories
from pages.ui.architectures import ARCHITECTURES
from pages.ui.navigation import go_to
from pages.ui.run_figures import figures_of
from pages.ui.services import services

PAGES = {
    "kernel": "pages/spectrum.py",
    "spectrum": "pages/spectrum.py",
    "predict": "pages/overview.py",
    "sweep": "pages/eigenfeatures.py",
    "curves": "pages/eigenfeatures.py",
    "pictures": "pages/eigenfeatures.py",
    "flip": "pages/attack.py",
    "upload": "pages/attack.py",
    "twin": "pages/transfer.py",
    "network": "pages/transfer.py",
    "path": "pages/transfer.py",
    "perturb": "pages/transfer.py",
    "transfer": "pages/transfer.py",
    "consistency": "pages/consistency.py",
    "gradients": "pages/consistency.py",
    **{spec.stage: "pages/evolution.py" for spec in specs.MOTION},
}


def open_run(entry: Artifact) -> None:
    """Set the sidebar to the run's experiment and go to the page that shows it."""
    spec = specs.parse(entry.stage, entry.meta["spec"])
    sidebar.apply(specs.experiment_of(spec))
    go_to(PAGES[entry.stage], **_controls(spec))


def _controls(spec: specs.StageSpec) -> dict[str, object]:
    """The controls of the page, by their keys, that belong to the run."""
    if isinstance(spec, specs.FlipSpec):
        return {"image": spec.index}
    if isinstance(spec, specs.ConsistencySpec | specs.GradientsSpec):
        kernels = getattr(spec, "kernels", None) or (spec.kernel,)
        names, data = [str(kernel.net.build()) for kernel in kernels], kernels[0].data
        found = {"cn": data.n_train, "cside": data.size or "full"}
        return found | ({"compared": names} if len(names) > 1 and set(names) <= set(ARCHITECTURES) else {})
    if isinstance(spec, specs.MOTION):
        return evolutions.controls_of(specs.run_of(spec), specs.checkpoint_of(spec).epoch)
    perturb, found = getattr(spec, "perturb", spec), {}
    if isinstance(perturb, specs.PerturbSpec):
        found["radius"] = max(perturb.eps) * (255.0 if perturb.norm == "linf" else 1.0)
    net = getattr(spec, "target", None) or getattr(spec, "source", spec)
    if isinstance(net, specs.NetworkSpec):
        return found | {"beside": [net.name]}
    if isinstance(net, specs.TwinSpec) and net.training.descent is not None:
        found |= {"lr": net.training.lr, "momentum": net.training.momentum, "descent": net.training.steps}
        found |= {"widths": [net.width]} if net.width in stories.WIDTHS else {}
    return found


def spec_of(entry: Artifact) -> specs.StageSpec | None:
    """What the run was of; None when another version of the app wrote it, of which this one would compute another."""
    try:
        spec = specs.parse(entry.stage, entry.meta.get("spec"))
    except NTKError:
        return None
    return spec if specs.key(spec) == entry.key else None


def net_in_words(entry: Artifact) -> str:
    """The run's architecture and attack, short: "FC(1) NTK, FGSM ℓ∞ eps 8/255"."""
    if entry.stage == IMAGE:
        return ""
    spec = spec_of(entry)
    if spec is None:
        return "of another version"
    experiment = specs.experiment_of(spec)
    if isinstance(spec, specs.TwinSpec | specs.NetworkSpec):
        return specs.model_name(spec).split(", trained")[0]
    if isinstance(spec, specs.MOTION):
        return specs.net_name(specs.run_of(spec))
    if isinstance(spec, specs.TransferSpec):
        return specs.model_name(spec.target).split(", trained")[0]
    if isinstance(spec, specs.ConsistencySpec):
        return ", ".join(str(kernel.net.build()) for kernel in spec.kernels)
    attack = "" if entry.stage in ("kernel", "spectrum", "path", "gradients") else f", {experiment.attack}"
    if experiment.checkpoint is not None:
        return f"{specs.net_name(experiment.checkpoint.run)}, epoch {experiment.checkpoint.epoch}{attack}"
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
