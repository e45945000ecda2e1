"""The stages of the kernel in motion: checkpoints, their scores, their tangent kernels, and their linearisations.

::

    artifact = result(EpochSpec.at(run, 20), store)      # goes on from the last checkpoint that is there
"""

import numpy as np
import torch
from torch import Tensor

from ntkcore.analysis.attacks import Attack, Predictor
from ntkcore.analysis.evolution import Look, centred_alignment, class_specialisation, inner_products, look
from ntkcore.analysis.frozen import along, solve
from ntkcore.kernels.blocks import Progress, slices
from ntkcore.kernels.empirical import empirical_ntk
from ntkcore.runs import specs
from ntkcore.runs.stages.checkpoints import MOMENTUM, WEIGHT, fresh, load_checkpoint, named_arrays, restored
from ntkcore.runs.stages.context import Arrays, Context, stage
from ntkcore.training import FiniteNet, Linearised, Start, train_epochs

ROWS = 100  # images attacked together: bounds the memory of a gradient
FITTED = 200  # training images by which a closed form is judged, at most


@stage("epoch")
def _epoch(spec: specs.EpochSpec, context: Context) -> Arrays:
    """One epoch of training from the checkpoint before it; what is missing on the way there is trained first."""
    run = spec.run
    if spec.epoch == 0:
        return _kept(fresh(run, context), {}, np.nan)
    reached = spec.epoch - 1
    while reached > 0 and not _has(specs.EpochSpec.at(run, reached), context):
        reached -= 1
    for epoch in range(reached + 1, spec.epoch):  # one after the other: each finds the one before it in the store
        context.get(specs.EpochSpec.at(run, epoch), ((epoch - 1) / spec.epoch, epoch / spec.epoch))
    before = context.get(specs.EpochSpec.at(run, spec.epoch - 1), (0.0, 0.0)).arrays
    net = restored(run, before, context)
    prefix = "net." if isinstance(net.module, Linearised) else ""
    momentum = {prefix + name: context.put(v) for name, v in named_arrays(before, MOMENTUM).items()}
    task = context.task(spec.data)
    x, y = context.put(task.x_train), context.put(task.y_train)
    start = Start(spec.epoch - 1, momentum)
    report = context.report(((spec.epoch - 1) / spec.epoch, 1.0))
    adversary = None if run.attack is None else _adversary(run.attack)
    *_, last = train_epochs(net, x, y, run.schedule, spec.epoch, adversary, start, report)
    return _kept(net, {name.removeprefix(prefix): v for name, v in last.momentum.items()}, last.loss)


@stage("score")
def _score(spec: specs.ScoreSpec, context: Context) -> Arrays:
    net = load_checkpoint(spec.checkpoint, context, (0.0, 0.5))
    return _judged(net, spec, context, spec.n_train, (0.5, 1.0))


@stage("tangent")
def _tangent(spec: specs.TangentSpec, context: Context) -> Arrays:
    """kernel [N, N], N = n c, rows and columns by image, then output; float32."""
    net = load_checkpoint(spec.checkpoint, context, (0.0, 0.5))
    task = context.task(spec.checkpoint.data)
    x, y = context.put(task.x_train[: spec.n]), context.put(task.y_train[: spec.n])
    if spec.attack is not None:
        x = torch.cat([spec.attack.perturb(net, x[i], y[i], spec.attack.eps)[0] for i in slices(len(x), ROWS)])
    theta = empirical_ntk(net.module, net.inputs(x.float()), progress=context.report((0.5, 1.0)))
    size = theta.shape[0] * theta.shape[2]
    return {"kernel": theta.permute(0, 2, 1, 3).reshape(size, size).cpu()}


@stage("moment")
def _moment(spec: specs.MomentSpec, context: Context) -> Arrays:
    """values [N]; inner [B + 1, 3] with the kernels of the earlier epochs and with itself: of the whole kernels, of
    their top parts, of their bottom parts; alignment; specialisation [c] of several outputs."""
    own = context.get(spec.tangent, (0.0, 0.8)).arrays["kernel"]
    task = context.task(spec.tangent.checkpoint.data)
    n = min(spec.tangent.n, task.n)
    mine = look(own, min(spec.top, len(own)))
    earlier = spec.earlier
    total = max(1, len(earlier))
    parts = ((0.8 + 0.2 * i / total, 0.8 + 0.2 * (i + 1) / total) for i in range(total))
    inner = [inner_products(_looked_at(one, context, part), mine) for one, part in zip(earlier, parts, strict=False)]
    inner.append(inner_products(mine, mine))
    y = task.y_train[:n].double()
    c = y.shape[1]
    theta = own.double().reshape(n, c, n, c).permute(0, 2, 1, 3)
    traced = theta.diagonal(dim1=2, dim2=3).mean(-1)
    arrays: Arrays = {"values": mine.values, "vectors": mine.vectors, "inner": torch.stack(inner)}
    arrays["alignment"] = np.array(centred_alignment(traced, y))
    return arrays | ({"specialisation": class_specialisation(theta, y)} if c > 1 else {})


def _looked_at(spec: specs.MomentSpec, context: Context, share: tuple[float, float]) -> Look:
    """A kernel with the eigenpairs that are kept of it."""
    moment = context.get(spec, share).arrays
    return Look(context.get(spec.tangent, (0.0, 0.0)).arrays["kernel"], moment["values"], moment["vectors"])


@stage("frozen")
def _frozen(spec: specs.FrozenSpec, context: Context) -> Arrays:
    net = load_checkpoint(spec.checkpoint, context, (0.0, 0.4))
    task = context.task(spec.checkpoint.data)
    n = min(spec.n, task.n)
    solved = solve(net, context.put(task.x_train[:n]), context.put(task.y_train[:n]), spec.ridge)
    return _judged(solved, spec, context, min(n, FITTED), (0.6, 1.0))


@stage("glimpse")
def _glimpse(spec: specs.GlimpseSpec, context: Context) -> Arrays:
    """gradients [F, C, H, W] of the leading eigenfeatures for the image's own class; outputs [F, c]."""
    net = load_checkpoint(spec.tangent.checkpoint, context, (0.0, 0.4))
    kernel = context.get(spec.tangent, (0.4, 0.8)).arrays["kernel"]
    task = context.task(spec.tangent.checkpoint.data)
    n = min(spec.tangent.n, task.n)
    features = min(spec.features, len(kernel))
    s = look(kernel, features)
    x, image = context.put(task.x_train[:n]), context.put(task.x_test[spec.index : spec.index + 1]).float()
    own = int(task.labels_test[spec.index]) if task.y_train.shape[1] > 1 else 0
    gradients, outputs = [], []
    for i in range(features):
        feature = along(net, x, context.put(s.vectors[:, i].reshape(n, -1) / s.values[i]))
        z = image.clone().requires_grad_()
        with torch.enable_grad():
            out = feature(z)
            gradients.append(torch.autograd.grad(out[0, own], z)[0][0].cpu())
        outputs.append(out.detach()[0].cpu())
    return {"gradients": torch.stack(gradients), "outputs": torch.stack(outputs), "values": s.values[:features]}


# -- nets and attacks ---------------------------------------------------------------------------------------------


def _kept(net: FiniteNet, momentum: dict[str, Tensor], loss: float) -> Arrays:
    module = net.module.net if isinstance(net.module, Linearised) else net.module
    arrays: Arrays = {f"{WEIGHT}{name}": v.detach().cpu().clone() for name, v in module.state_dict().items()}
    arrays |= {f"{MOMENTUM}{name}": v.detach().cpu().clone() for name, v in momentum.items()}
    return arrays | {"loss": np.array(loss)}


def _has(spec: specs.EpochSpec, context: Context) -> bool:
    return context.store.get(spec.stage, specs.key(spec)) is not None


def _adversary(attack: Attack):
    """The attack as a training sees it: another random start at every step."""

    def perturb(net: FiniteNet, x: Tensor, y: Tensor, draw: int) -> Tensor:
        own = attack.replace(seed=attack.seed + draw) if attack.random_start else attack
        return own.perturb(net, x, y, attack.eps)[0]

    return perturb


def _judged(
    f: Predictor, spec: specs.ScoreSpec | specs.FrozenSpec, context: Context, n_train: int, share: tuple[float, float]
) -> Arrays:
    """[m] and [n_train] bool: right before and after each attack, on the first test and the first training images; and
    the outputs [m, c] that it was judged by."""
    task, fgsm, pgd = context.task(spec.checkpoint.data), spec.fgsm, spec.pgd
    report, arrays = context.report(share), {}
    m = spec.n_test
    sets = {"test": (task.x_test[:m], task.y_test[:m]), "train": (task.x_train[:n_train], task.y_train[:n_train])}
    done, total = 0, 2 * sum(len(x) for x, _ in sets.values())
    for name, (x, y) in sets.items():
        parts: dict[str, list[Tensor]] = {}
        for rows in slices(len(x), ROWS):
            images, labels = context.put(x[rows]), context.put(y[rows])
            for kind, attack in (("fgsm", fgsm), ("pgd", pgd)):
                _told(report, done, total)
                result = attack(f, images, labels)
                found = {kind: result.right_after, f"{kind}_outputs": result.attacked}
                if kind == "fgsm":
                    found |= {"clean": result.right_before, "clean_outputs": result.clean}
                for array, value in found.items():
                    parts.setdefault(f"{name}_{array}", []).append(value.cpu())
                done += len(images)
        arrays |= {array: torch.cat(values) for array, values in parts.items()}
    return arrays


def _told(report: Progress | None, done: int, total: int) -> None:
    if report is not None:
        report(done, total, "attacking the net")
