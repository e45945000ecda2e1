"""What the Attack page shows of one attack: the kernel on itself, any predictor through any other, an own image.

A ``View`` has one image's pictures and margins, and the verdicts on all test images where there are any::

    view = view_of(experiment, task, index, source, target)
    if view is None: ...                       # progress is drawn in its place
"""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ntkcore.analysis.attacks.attack import Attack
from ntkcore.analysis.attacks.balls import BALLS, radii_up_to
from ntkcore.analysis.predict import margin
from ntkcore.data import Task
from ntkcore.figures.attacks.along_radius import attacked_image
from ntkcore.figures.attacks.attack import first_flip, margin_along_eps
from ntkcore.figures.drawing.strip import Picture
from ntkcore.runs.specs import Experiment, Model, PerturbSpec, StageSpec, TransferSpec
from ntkcore.training import LAZY
from pages.ui.controls.transfer import WIDTHS
from pages.ui.sections.samples import predicted_classes
from pages.ui.shell.results import need, need_all
from pages.ui.shell.services import stored

KERNEL, DESCENT, ITSELF = "kernel", f"kernel after {LAZY.steps} steps", "the target itself"
WIDTH, WIDEST = "width ", 4096  # how the names of nets begin; the widest that is trained for one image
NEAR = 8  # steps between the radii at which all test images are attacked, up to where most of them turn


@dataclass(frozen=True, eq=False)
class View:
    """One image along the radii eps [E], of which number at is the experiment's: as the attack leaves it, x_adv
    [E, C, H, W], what the target says of that, says [E], and with which margin, shown [E]; margins [E] by attack;
    flips: the radius of each, found by halving a cell of eps, or (not halved) by a line in it; zero_gradient: whether
    the source's gradient is exactly zero here; attack: the experiment's. status and margins of all test images, or
    None.
    """

    image: np.ndarray
    x_adv: np.ndarray
    says: list[str]
    shown: np.ndarray
    truth: str
    eps: np.ndarray
    at: int
    margins: dict[str, np.ndarray]
    flips: dict[str, float]
    halved: bool
    zero_gradient: bool
    attack: Attack
    status: list[str] | None = None
    all_margins: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def radii(self) -> list[float]:
        """The flips in the ball's own unit."""
        return [BALLS[self.attack.norm].unit * flip for flip in self.flips.values()]

    def curves(self, dark: bool) -> go.Figure:
        """The margins along the radius, the attack's own marked."""
        norm, mark = self.attack.norm, self.attack.eps
        return margin_along_eps(self.eps, self.margins, self.flips, norm=norm, eps_mark=mark, dark=dark)

    def moving(self, factor: float, dark: bool, curve: bool = True) -> go.Figure:
        """The pictures over the margins, from every radius a frame; the perturbation ``factor`` times as strong.

        curve: whether the margins are there; the pictures are larger without.
        """
        along = self.image, self.x_adv, self.eps, self.says, self.shown, self.margins, self.flips
        return attacked_image(*along, at=self.at, factor=factor, norm=self.attack.norm, curve=curve, dark=dark)


OF_VIEWS = {
    "Right": lambda v: np.array(v.status) != "wrong",
    "Right under the attack": lambda v: np.array(v.status) == "right",
}
OF_IMAGE = {  # where both are about one image, in one norm
    "Radius of FGSM that flips this image (ℓ∞: in 1/255)": lambda v: v.radii[0],
    "Radius of PGD that flips this image (ℓ∞: in 1/255)": lambda v: v.radii[1],
}


def predictors() -> list[str]:
    """Names of the predictors to choose from, as the address has them."""
    return [KERNEL, DESCENT, *(f"{WIDTH}{width}" for width in WIDTHS if width <= WIDEST)]


def is_net(name: str) -> bool:
    return name.startswith(WIDTH)


def model_of(experiment: Experiment, name: str) -> Model:
    if is_net(name):
        return experiment.twin(int(name.removeprefix(WIDTH)))
    return experiment.kernel_model(LAZY.descent if name == DESCENT else None)


def largest_radius(experiment: Experiment) -> float:
    return max(0.2, experiment.attack.eps) if experiment.attack.norm == "linf" else max(4.0, 2 * experiment.attack.eps)


def kernel_view(experiment: Experiment, task: Task, index: int) -> View | None:
    """The kernel's own prediction attacked through itself."""
    predicted = need(experiment.predict(), "the kernel's prediction, clean and under attack")
    if predicted is None:
        return None
    a = predicted.arrays
    status = _status(a["right"], a["attack_right"])
    flip = need(experiment.flip(index, eps_max=largest_radius(experiment)), "this image's margin along eps")
    truth = task.classes[int(task.labels_test[index])]
    return (
        None
        if flip is None
        else _view_of(flip.arrays, experiment, task, truth, status, (a["margin"], a["attack_margin"]))
    )


def own_view(experiment: Experiment, task: Task, image: str, label: int) -> View | None:
    """An uploaded image under the kernel's attack on itself."""
    made = need(experiment.upload(image, label, largest_radius(experiment)), "your image's margin along eps")
    return None if made is None else _view_of(made.arrays, experiment, task, task.classes[label], None, None)


def _transfers(experiment: Experiment, source: str, target: str) -> dict[str, TransferSpec]:
    """A target attacked through a source, by FGSM and by PGD: a spec for each line's meaning."""
    through = target if source == ITSELF else source
    wanted = {}
    for kind, steps in zip(_kinds(through, target), (1, 10), strict=True):
        model, norm = model_of(experiment, through), experiment.attack.norm
        perturb = PerturbSpec(source=model, eps=_radii(experiment), steps=steps, norm=norm)
        wanted[kind] = TransferSpec(perturb=perturb, target=model_of(experiment, target))
    return wanted


def view_of(experiment: Experiment, task: Task, index: int, source: str, target: str) -> View | None:
    """A test image under the attack on the target that is made through the source; None while it is not there."""
    if index >= task.m:
        st.info(f"There are {task.m} test images of the pinned experiment, none of number {index}.")
        return None
    if target == KERNEL and source in (ITSELF, KERNEL):
        return kernel_view(experiment, task, index)
    return transfer_view(experiment, task, index, source, target)


def three_pictures(view: View, who: str, factor: float) -> list[Picture]:
    """Image, perturbation (``factor`` times) and adversarial image, with what ``who`` says of them."""
    seen = view.x_adv[view.at]
    return [
        Picture(view.image, f"original<br>{who}: {view.says[0]}"),
        Picture((seen - view.image) * factor, f"perturbation<br>x {factor}", signed=True, scale=1.0),
        Picture(seen, f"adversarial<br>{who}: {view.says[view.at]}"),
    ]


def wanted_by(experiment: Experiment, target: str, source: str, index: int) -> dict[str, StageSpec]:
    """What the view of one test image needs."""
    if target == KERNEL and source in (ITSELF, KERNEL):
        flip = experiment.flip(index, eps_max=largest_radius(experiment))
        return {"predict": experiment.predict(), "flip": flip}
    return _transfers(experiment, source, target)


def transfer_view(experiment: Experiment, task: Task, index: int, source: str, target: str) -> View | None:
    """A target attacked through a source: margins under FGSM and PGD, verdicts at the experiment's radius."""
    wanted = _transfers(experiment, source, target)
    kinds, eps = tuple(wanted), _radii(experiment)
    found = need_all(wanted, f"{target}, attacked through {source}")
    if len(found) < len(wanted):
        return None
    first = found[kinds[0]].arrays
    made = stored(wanted[kinds[0]].perturb)
    if made is None:  # dropped from the cache: made again like any other result
        made = need(wanted[kinds[0]].perturb, "the perturbed images")
        if made is None:
            return None
    at, y = eps.index(experiment.attack.eps), task.y_test.double()
    margins = {
        kind: np.array([float(margin(out[None, index], y[None, index])) for out in artifact.arrays["attacked"]])
        for kind, artifact in found.items()
    }
    flips = {kind: first_flip(np.array(eps), values) for kind, values in margins.items()}
    return View(
        image=task.x_test[index].numpy(),
        x_adv=made.arrays["x_adv"][:, index].numpy(),
        says=predicted_classes(first["attacked"][:, index], task),
        shown=margins[kinds[0]],
        truth=task.classes[int(task.labels_test[index])],
        eps=np.array(eps),
        at=at,
        margins=margins,
        flips={kind: float("inf") if radius is None else radius for kind, radius in flips.items()},
        halved=False,
        attack=experiment.attack,
        zero_gradient=bool(first["zero_gradient"][index]),
        status=_status(first["right_before"], first["right_after"][at]),
        all_margins=(margin(first["outputs"], y).numpy(), margin(first["attacked"][at], y).numpy()),
    )


def all_predictions(experiment: Experiment, task: Task, index: int, source: str, target: str) -> list[dict] | None:
    """What every predictor there is says of this image, clean and perturbed through the source: rows of a table."""
    through = target if source == ITSELF else source
    eps = _radii(experiment)
    at = eps.index(experiment.attack.eps)
    perturb = PerturbSpec(source=model_of(experiment, through), eps=eps, norm=experiment.attack.norm)
    wanted = {
        name: TransferSpec(perturb=perturb, target=model_of(experiment, name))
        for name in predictors_asked(experiment, target)
    }
    found = need_all(wanted, "what the other predictors say")
    y = task.y_test[index][None].double()
    rows = []
    for name, artifact in found.items():
        clean, attacked = artifact.arrays["outputs"][index][None], artifact.arrays["attacked"][at, index][None]
        rows.append(
            {
                "Predictor": f"net of {name}" if is_net(name) else name,
                "Says": predicted_classes(clean, task)[0],
                "Margin": float(margin(clean, y)),
                "Perturbed, says": predicted_classes(attacked, task)[0],
                "Margin, perturbed": float(margin(attacked, y)),
            }
        )
    return rows


def predictors_asked(experiment: Experiment, target: str) -> list[str]:
    """Whom the table asks: the kernel, the target, and the nets that have been trained."""
    return [name for name in predictors() if name in (KERNEL, DESCENT, target) or _trained(experiment, name)]


def _view_of(a, experiment: Experiment, task: Task, truth: str, status: list[str] | None, margins) -> View:
    return View(
        image=a["image"].numpy(),
        x_adv=a["x_adv"].numpy(),
        says=predicted_classes(a["attacked"], task),
        shown=a["margin"].numpy(),
        truth=truth,
        eps=a["eps"].numpy(),
        at=int(a["at"]),
        margins={"fgsm": a["fgsm_margin"].numpy(), "pgd": a["pgd_margin"].numpy()},
        flips={"fgsm": float(a["fgsm_flip"]), "pgd": float(a["pgd_flip"])},
        halved=True,
        attack=experiment.attack,
        zero_gradient=bool(a["fgsm_zero_gradient"]),
        status=status,
        all_margins=None if margins is None else (margins[0].numpy(), margins[1].numpy()),
    )


def _radii(experiment: Experiment) -> tuple[float, ...]:
    """Radii at which all test images are attacked, the experiment's own among them."""
    return tuple(radii_up_to(largest_radius(experiment), experiment.attack.norm, experiment.attack.eps, NEAR))


def _kinds(through: str, target: str) -> tuple[str, str]:
    """The meaning of the two attacks' lines."""
    if through in (KERNEL, DESCENT):
        return "kernel_fgsm", "kernel_pgd"
    return ("white_fgsm", "white_pgd") if through == target else ("other_seed", "white_pgd")


def _status(before, after) -> list[str]:
    return ["wrong" if not b else "right" if c else "flipped" for b, c in zip(before, after, strict=True)]


def _trained(experiment: Experiment, name: str) -> bool:
    return is_net(name) and stored(model_of(experiment, name)) is not None
