"""Features as pictures, and one image's adversarial perturbation split over the features.

The picture of feature i at an image x is its input gradient ``d f^(i)(x) / dx``: what it looks at there. The
gradient of the whole predictor is the sum of all pictures, so the perturbation that follows it splits into the
parts that the features of each class ask for (Tsilivis & Kempe 2022, Figure 1)::

    p = feature_pictures(kernel, s, x, y, image, label, attack, features=(0, 1, 5), classes=classes)
    p.pictures                  # [3, C, H, W]
    p.group_gradients           # gradient of the loss, split over GROUPS; their sum is the whole
    p.contributions             # [F]: change of the margin that each feature suffers under the perturbation
    damage(kernel, s, x, y, images, labels, attack, classes).parts      # [m, 4]: the same, of many images
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ntkcore import checks
from ntkcore.analysis.attacks.attack import Attack, loss
from ntkcore.analysis.features.bank_attacks import checked_arguments
from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, ROBUST, WEAK
from ntkcore.analysis.features.eigenfeatures import Selection, chosen_features, feature_bank
from ntkcore.analysis.predict import KernelPredictor, margins
from ntkcore.analysis.spectrum import Spectrum
from ntkcore.errors import SpecError
from ntkcore.kernels.blocks import untiled
from ntkcore.kernels.protocols import DifferentiatingKernel, Images, KernelFunction, Progress
from ntkcore.modes import plain

GROUPS = (ROBUST, BETWEEN, BRITTLE, WEAK)
ROWS = 100  # images attacked together: bounds the memory


@dataclass(frozen=True, eq=False)
class FeaturePictures:
    """features [k] indices; outputs [k, c] of each at the image; pictures [k, C, H, W], gradient of the feature's
    own right-side margin; x_adv [C, H, W] of the whole predictor (t = inf); group_gradients [4, C, H, W], the loss
    gradient split over the classes of features in the order of GROUPS; contributions [F] of every feature to the
    change of the margin under the perturbation, against the class that competes after it (they sum to margin_after -
    margin_before where the same one competed before); margins before and after.
    """

    features: Tensor
    outputs: Tensor
    pictures: Tensor
    x_adv: Tensor
    group_gradients: Tensor
    contributions: Tensor
    margin_before: float
    margin_after: float


@plain
def feature_pictures(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    y: Tensor,
    image: Tensor,
    label: Tensor,
    attack: Attack,
    features: Selection,
    classes: np.ndarray,
) -> FeaturePictures:
    """Pictures of ``features`` at ``image`` [C, H, W] with true label ``label`` [c]; classes [F] from ``classify``.

    x [n, C, H, W], y [n, c] are the training set of the spectrum s; of its leading part, the whole predictor is the sum
    of the features that it has. Binary: a picture is the gradient of ``y f^(i)``,
    so red pixels, brightened, help the true class. Multi-class: of the feature's output for the true class.
    Raises SpecError for images, a label, features or classes that are not such.
    """
    image, label = checks.image(image, pixels=True), checks.label(label)
    x, y, images, labels = checked_arguments(kernel, x, y, image[None], label[None], attack, s)
    x, image, label = x.double(), images[0].double(), labels[0].double()
    chosen = chosen_features(s, features)
    classes = checks.codes(classes, s.rank, GROUPS, "classes")
    bank = feature_bank(s, y)
    readout = bank.single_readout()  # [F, c]
    J = pair_gradients(kernel, image, x)  # [n, d]
    vectors = bank.weights[:, :, 0]  # [F, n]
    toward = (readout * label).sum(1)  # change of the true class's output per unit of K(x, X) v_i

    k_row = kernel(image[None], x)[0]
    g = vectors @ k_row  # [F]
    whole = (g[:, None] * readout).sum(0)  # [c]
    with torch.enable_grad():
        out = whole.clone().requires_grad_()
        (dloss,) = torch.autograd.grad(loss(out[None], label[None]).sum(), out)
    pull = readout @ dloss  # [F]: dLoss / d(K v_i)
    groups = torch.stack([_combine(pull, vectors, classes == kind) @ J for kind in GROUPS])

    predictor = KernelPredictor(kernel, x, vectors.T @ readout)
    x_adv = attack(predictor, image[None], label[None]).x_adv[0]
    change = (vectors @ (kernel(x_adv[None], x)[0] - k_row))[:, None] * readout  # [F, c]
    after = whole + change.sum(0)
    return FeaturePictures(
        features=chosen,
        outputs=g[chosen, None] * readout[chosen],
        pictures=((toward[chosen, None] * vectors[chosen]) @ J).view(-1, *image.shape),
        x_adv=x_adv,
        group_gradients=groups.view(-1, *image.shape),
        contributions=_margin_share(change, after, label),
        margin_before=float(margins(whole[None], label[None])[0]),
        margin_after=float(margins(after[None], label[None])[0]),
    )


@dataclass(frozen=True, eq=False)
class Damage:
    """What the attack on the whole predictor does to the margins of m images: parts [m, 4], the change that the
    features of each class in GROUPS suffer, against the class that competes after it; margins before and after [m]."""

    parts: Tensor
    before: Tensor
    after: Tensor


@plain
def damage(
    kernel: KernelFunction,
    s: Spectrum,
    x: Tensor,
    y: Tensor,
    images: Tensor,
    labels: Tensor,
    attack: Attack,
    classes: np.ndarray,
    progress: Progress | None = None,
) -> Damage:
    """``contributions`` of images [m, C, H, W] with labels [m, c], summed over each class of features.

    The rest as in ``feature_pictures``. progress counts images.
    """
    checks.progress(progress)
    x, y, images, labels = checked_arguments(kernel, x, y, images, labels, attack, s)
    x, images, labels = x.double(), images.double(), labels.double()
    bank = feature_bank(s, y)
    codes = checks.codes(classes, s.rank, GROUPS, "classes")
    readout, vectors = bank.single_readout(), bank.weights[:, :, 0]  # [F, c], [F, n]
    weights = torch.stack([_combine_all(readout, vectors, codes == kind) for kind in GROUPS])  # [4, n, c]
    predictor, found = KernelPredictor(kernel, x, weights.sum(0)), []
    for start in range(0, len(images), ROWS):
        if progress is not None:
            progress(start, len(images), "splitting the damage over the features")
        rows, right = images[start : start + ROWS], labels[start : start + ROWS]
        moved = attack(predictor, rows, right).x_adv.double()
        clean, attacked = (torch.einsum("bn,gnc->bgc", kernel(some, x), weights) for some in (rows, moved))
        before, after = clean.sum(1), attacked.sum(1)
        each = zip(attacked - clean, after, right, strict=True)
        parts = torch.stack([_margin_share(*one) for one in each])
        found.append((parts, margins(before, right), margins(after, right)))
    return Damage(*(torch.cat(some) for some in zip(*found, strict=True)))


def pair_gradients(kernel: KernelFunction, image: Tensor, x: Images) -> Tensor:
    """``dK(image, x_j)/d image`` for every j, flattened: [n, d]."""
    return differentiating(kernel).pair_gradients(image, x).flatten(1)


def differentiating(kernel: KernelFunction) -> DifferentiatingKernel:
    """The kernel inside the tiles. Raises SpecError where it has no gradients of image pairs."""
    inside = untiled(kernel)
    if not isinstance(inside, DifferentiatingKernel):
        raise SpecError(f"{type(inside).__name__} gives no input gradients of image pairs. Use a closed-form kernel.")
    return inside


def _combine(pull: Tensor, vectors: Tensor, members: np.ndarray) -> Tensor:
    return (pull * torch.from_numpy(members).to(pull)) @ vectors  # [n]


def _combine_all(readout: Tensor, vectors: Tensor, members: np.ndarray) -> Tensor:
    return vectors.T @ (readout * torch.from_numpy(members).to(readout)[:, None])  # [n, c]


def _margin_share(change: Tensor, after: Tensor, label: Tensor) -> Tensor:
    """Each part's share in the change of the margin, measured against the class that competes after the attack:
    change [parts, c], after [c], label [c]."""
    if len(label) == 1:
        return change[:, 0] * label[0]
    rival = torch.where(label > 0, -torch.inf, after).argmax()
    return (change * label).sum(1) - change[:, rival]
