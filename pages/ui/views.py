"""How the app shows each stage: the page it belongs to, the controls that lead there, its figures, its line in Runs.

One row a stage: a new one gets a row here and is listed, exported and opened again like all others::

    view = view_of(spec)
    go_to(view.page, **view.controls(spec))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ntkcore.runs import specs
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.comparison import ARCHITECTURES
from pages.ui.controls.consistency import COMPARISON
from pages.ui.controls.evolution import controls_of_run
from pages.ui.controls.transfer import STORY, WIDTHS
from pages.ui.sections import run_figures


@dataclass(frozen=True)
class View:
    """page: its script. controls: of that page, by their keys, that belong to a run. figures: of a result, by title.
    label: whose result it is, short."""

    page: str
    figures: Callable[..., run_figures.Figures] = run_figures.none_of
    controls: Callable[[Any], dict[str, object]] = lambda spec: {}
    label: Callable[[Any], str] | None = None

    def label_of(self, spec: specs.StageSpec) -> str:
        return _attacked(spec) if self.label is None else self.label(spec)


def view_of(spec: specs.StageSpec) -> View:
    return VIEWS[spec.stage]


# -- labels -------------------------------------------------------------------------------------------------------


def _kernel(spec: specs.StageSpec) -> str:
    """ "FC(1) NTK"; of a checkpoint's kernel, the net and the epoch."""
    e = specs.experiment_of(spec)
    if e.checkpoint is None:
        return f"{e.net.build()} {e.kind.upper()}"
    return f"{e.checkpoint.run.net.in_words()}, epoch {e.checkpoint.epoch}"


def _attacked(spec: specs.StageSpec) -> str:
    return f"{_kernel(spec)}, {specs.experiment_of(spec).attack}"


def _net(spec: specs.TwinSpec | specs.NetworkSpec) -> str:
    return spec.short_name()


def _net_in_motion(spec: Any) -> str:
    return _checkpoint(spec).run.net.in_words()


def _architectures(spec: specs.ConsistencySpec) -> str:
    return ", ".join(str(kernel.net.build()) for kernel in spec.kernels)


# -- controls -----------------------------------------------------------------------------------------------------


def _of_consistency(spec: specs.ConsistencySpec) -> dict[str, object]:
    names = COMPARISON.values(spec.kernels, "compared")
    return _of_images(spec.kernels[0]) | (names if set(names["compared"]) <= set(ARCHITECTURES) else {})


def _of_images(kernel: specs.KernelSpec) -> dict[str, object]:
    return COMPARISON.values(kernel, "cn", "cside")


def _of_training(spec: specs.TwinSpec) -> dict[str, object]:
    if spec.training.descent is None:
        return {}
    found = STORY.values(spec, "lr", "momentum", "descent")
    return found | ({"widths": [spec.width]} if spec.width in WIDTHS else {})


def _of_model(model: specs.Model | specs.Noise) -> dict[str, object]:
    """The controls of a model that is a stage; a kernel's prediction and random signs have none."""
    return VIEWS[model.stage].controls(model) if isinstance(model, specs.StageSpec) else {}


def _of_perturb(spec: specs.PerturbSpec) -> dict[str, object]:
    return STORY.values(spec, "radius") | _of_model(spec.source)


def _of_transfer(spec: specs.TransferSpec) -> dict[str, object]:
    return _of_perturb(spec.perturb) | _of_model(spec.target)


def _checkpoint(spec: Any) -> specs.EpochSpec:
    return getattr(spec, "checkpoint", spec)


def _of_run(spec: Any) -> dict[str, object]:
    return controls_of_run(_checkpoint(spec).run, _checkpoint(spec).epoch)


def _told(name: str) -> dict[str, object]:
    """The story at the claim of that name."""
    return {"claim": str([claim.name for claim in CLAIMS].index(name) + 1)}


# -- the table ----------------------------------------------------------------------------------------------------

SPECTRUM, OVERVIEW, FEATURES = "pages/spectrum.py", "pages/overview.py", "pages/eigenfeatures.py"
ATTACK, TRANSFER, EVOLUTION = "pages/attack.py", "pages/transfer.py", "pages/evolution.py"
CONSISTENCY, STORY_PAGE = "pages/consistency.py", "pages/story.py"

VIEWS: dict[str, View] = {
    "kernel": View(SPECTRUM, run_figures.of_kernel, label=_kernel),
    "spectrum": View(SPECTRUM, run_figures.of_spectrum, label=_kernel),
    "solution": View(OVERVIEW, label=_kernel),
    "predict": View(OVERVIEW),
    "sweep": View(FEATURES, run_figures.of_sweep),
    "curves": View(FEATURES, run_figures.of_curves),
    "pictures": View(FEATURES, run_figures.of_pictures),
    "flip": View(ATTACK, run_figures.of_margins, lambda spec: {"image": spec.index}),
    "upload": View(ATTACK, run_figures.of_margins),
    "twin": View(TRANSFER, run_figures.of_training, _of_training, _net),
    "network": View(TRANSFER, run_figures.of_training, lambda spec: {"beside": [spec.name]}, _net),
    "path": View(TRANSFER, label=_kernel),
    "perturb": View(TRANSFER, controls=_of_perturb),
    "transfer": View(TRANSFER, run_figures.of_transfer, _of_transfer, lambda spec: _net(spec.target)),
    "consistency": View(CONSISTENCY, run_figures.of_consistency, _of_consistency, _architectures),
    "gradients": View(CONSISTENCY, run_figures.of_gradients, lambda spec: _of_images(spec.kernel), _kernel),
    "epoch": View(EVOLUTION, controls=_of_run, label=_net_in_motion),
    "score": View(EVOLUTION, controls=_of_run, label=_net_in_motion),
    "tangent": View(EVOLUTION, controls=_of_run, label=_net_in_motion),
    "moment": View(EVOLUTION, run_figures.of_moment, _of_run, _net_in_motion),
    "frozen": View(EVOLUTION, controls=_of_run, label=_net_in_motion),
    "flipped": View(STORY_PAGE, controls=lambda spec: {"claim": "2"}),
    "robust_features": View(STORY_PAGE, controls=lambda spec: {"claim": "3"}),
    "training_free": View(STORY_PAGE, controls=lambda spec: {"claim": "1"}),
    "seen": View(STORY_PAGE, controls=lambda spec: _told("seen")),
    "glimpse": View(EVOLUTION, run_figures.of_tangent_features, _of_run, _net_in_motion),
}
