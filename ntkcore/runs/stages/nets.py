"""The stages of finite nets: training them, perturbing through a model, judging by another, and consistency.

Weights are artifacts; a net is made again from its spec (whose seed gives the initial weights) and its weights::

    artifact = result(experiment.twin(width=512), store)         # weight.* arrays, loss, steps, cosine
    f = load_model(experiment.twin(width=512), context)          # FiniteNet: x -> [m, c]
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ntkcore import data
from ntkcore.analysis.attacks import Predictor, loss_gradient
from ntkcore.analysis.banks import Bank, bank_gradients
from ntkcore.analysis.predict import KernelPredictor, accuracy, descent_weights, fit, fit_steps
from ntkcore.analysis.spectrum import projections
from ntkcore.analysis.strongest import autoattack
from ntkcore.analysis.transfer import gradient_cosine, judge, perturb_along, sign_noise
from ntkcore.architectures import build
from ntkcore.kernels import input_map
from ntkcore.runs import specs
from ntkcore.runs.stages.checkpoints import WEIGHT, named_arrays
from ntkcore.runs.stages.context import Arrays, Context, stage
from ntkcore.runs.stages.kernels import kernel_of, read_spectrum
from ntkcore.training import Checkpoint, FiniteNet, finite_net, train


def load_model(model: specs.Model, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> Predictor:
    """The predictor of a model: from its kernel's spectrum, or with the weights of its training."""
    if isinstance(model, specs.KernelModel):
        return _kernel_predictor(model, context, share)
    weights = named_arrays(context.get(model, share).arrays, WEIGHT)
    net = _fresh(model, context.task(model.data), context)
    net.module.load_state_dict({name: context.put(value) for name, value in weights.items()})
    return net


def checkpoint_steps(steps: int) -> tuple[int, ...]:
    """Steps at which a net is looked at: 1, 2, 5, 10, 20, 50, ... and the last."""
    round_ones = (base * 10**power for power in range(7) for base in (1, 2, 5))
    return (*(step for step in round_ones if step < steps), *((steps,) if steps else ()))


# -- the stages --------------------------------------------------------------------------------------------------


@stage("twin")
def _twin(spec: specs.TwinSpec, context: Context) -> Arrays:
    return _train(spec, context)


@stage("network")
def _network(spec: specs.NetworkSpec, context: Context) -> Arrays:
    return _train(spec, context)


@stage("path")
def _path(spec: specs.PathSpec, context: Context) -> Arrays:
    """One pass over the test images: the gradients after all steps share the kernel's own gradient."""
    task = context.task(spec.kernel.data)
    s = read_spectrum(context.get(specs.SpectrumSpec(kernel=spec.kernel), (0.0, 0.2)))
    K_test = context.get(spec.kernel, (0.2, 0.2)).arrays["K_test"]
    p = projections(s, task.y_train)
    g = (descent_weights(s, spec.lr, spec.momentum, step) for step in spec.steps)
    bank = Bank(context.put(torch.stack([s.vectors @ (weights[:, None] * p) for weights in g])))
    gradients = bank_gradients(
        kernel_of(spec.kernel, task, context),
        context.put(task.x_train),
        bank,
        context.put(task.x_test),
        context.put(task.y_test),
        context.put(K_test),
        context.report((0.2, 1.0)),
    )
    return {"gradients": gradients.cpu(), "steps": np.array(spec.steps)}


@stage("perturb")
def _perturb(spec: specs.PerturbSpec, context: Context) -> Arrays:
    task = context.task(spec.data)
    x, y = context.put(task.x_test), context.put(task.y_test)
    if isinstance(spec.source, specs.Noise):
        x_adv = sign_noise(x, spec.eps, spec.source.seed)
        return {"x_adv": x_adv.cpu(), "zero_gradient": torch.zeros(len(x), dtype=torch.bool)}
    f = load_model(spec.source, context, (0.0, 0.3))
    if spec.method == "autoattack":
        return _strongest(f, x, y, spec, context)
    p = perturb_along(f, x, y, spec.attack, spec.eps, context.report((0.3, 1.0)))
    return {"x_adv": p.x_adv.cpu(), "gradient": p.gradient.cpu(), "zero_gradient": p.zero_gradient.cpu()}


def _strongest(f: Predictor, x: Tensor, y: Tensor, spec: specs.PerturbSpec, context: Context) -> Arrays:
    report, images = context.report((0.3, 1.0)), []
    for i, eps in enumerate(spec.eps):
        if report is not None:
            report(i, len(spec.eps), f"AutoAttack, radius {i + 1} of {len(spec.eps)}")
        images.append(autoattack(f, x, y, eps, spec.norm))
    return {"x_adv": torch.stack(images).cpu(), "zero_gradient": torch.zeros(len(x), dtype=torch.bool)}


@stage("transfer")
def _transfer(spec: specs.TransferSpec, context: Context) -> Arrays:
    task = context.task(spec.target.data)
    f = load_model(spec.target, context, (0.0, 0.6))
    made = context.get(spec.perturb, (0.6, 0.9)).arrays
    x, y = context.put(task.x_test), context.put(task.y_test)
    v = judge(f, x, context.put(made["x_adv"]), y)
    arrays: Arrays = {"right_before": v.right_before.cpu(), "right_after": v.right_after.cpu()}
    arrays |= {"outputs": v.clean.double().cpu(), "attacked": v.attacked.double().cpu()}
    arrays["zero_gradient"] = made["zero_gradient"]
    if "gradient" in made:
        arrays["cosine"] = gradient_cosine(made["gradient"], loss_gradient(f, x, y).cpu())
    return arrays


# -- nets ---------------------------------------------------------------------------------------------------------


def _fresh(spec: specs.TwinSpec | specs.NetworkSpec, task: data.Task, context: Context) -> FiniteNet:
    """The net as it is before training."""
    outputs = task.y_train.shape[1]
    if isinstance(spec, specs.TwinSpec):
        net, form = spec.kernel.net.build(), spec.training.parameterisation
        module = net.module(task.image_shape, spec.width, outputs, spec.seed, parameterisation=form)
    else:
        module = build(spec.name, task.image_shape, outputs, spec.seed, spec.init)
    module = module.to(context.put(torch.zeros(())).device)
    return finite_net(module, input_map(spec.kernel.inputs, task.x_train), centred=spec.training.centred)


def _train(spec: specs.TwinSpec | specs.NetworkSpec, context: Context) -> Arrays:
    """Train, and compare the net's loss gradients with the kernel predictor's on the way.

    A kernel that can follow the training is compared after the same steps, another one as it is.
    """
    recipe, task = spec.training, context.task(spec.data)
    s = context.get(specs.SpectrumSpec(kernel=spec.kernel), (0.0, 0.1)).arrays["values"]
    steps = checkpoint_steps(recipe.steps)
    path = None
    if steps:
        compared = steps if recipe.descent else (spec.comparable.descent.steps,)
        along = specs.PathSpec.along(spec.comparable, compared)
        path = context.get(along, (0.1, 0.3)).arrays["gradients"].expand(len(steps), *task.x_test.shape)
    net = _fresh(spec, task, context)
    x, y = context.put(task.x_train), context.put(task.y_train)
    x_test, y_test = context.put(task.x_test), context.put(task.y_test)
    losses, cosines, seen = [], [], []
    for checkpoint in _reported(train(net, x, y, recipe, task.n / float(s[0]), spec.seed), recipe.steps, context):
        losses.append(checkpoint.loss)
        if checkpoint.step in steps:
            own = loss_gradient(net, x_test, y_test).cpu()
            cosines.append(gradient_cosine(own, path[steps.index(checkpoint.step)]))
            seen.append(checkpoint.step)
    state = net.module.state_dict().items()
    arrays: Arrays = {f"{WEIGHT}{name}": value.detach().cpu().clone() for name, value in state}
    with torch.no_grad():
        arrays["train_accuracy"] = np.array(accuracy(net(x), y))
        arrays["test_accuracy"] = np.array(accuracy(net(x_test), y_test))
    arrays["loss"] = np.array(losses)  # [steps done + 1], the first before any step
    arrays["cosine"] = torch.stack(cosines) if cosines else torch.zeros(0, task.m)  # [P, m]
    arrays["cosine_steps"] = np.array(seen, dtype=np.int64)
    return arrays


def _reported(checkpoints: Iterator[Checkpoint], steps: int, context: Context) -> Iterator[Checkpoint]:
    report = context.report((0.3, 1.0))
    for checkpoint in checkpoints:
        if report is not None:
            note = f"training, step {checkpoint.step} of {steps}, loss {checkpoint.loss:.3g}"
            report(checkpoint.step, max(1, steps), note)
        yield checkpoint


# -- kernels ------------------------------------------------------------------------------------------------------


def _kernel_predictor(model: specs.KernelModel, context: Context, share: tuple[float, float]) -> KernelPredictor:
    task = context.task(model.data)
    s = read_spectrum(context.get(specs.SpectrumSpec(kernel=model.kernel), share))
    kernel, x, y = kernel_of(model.kernel, task, context), context.put(task.x_train), task.y_train
    d = model.descent
    if d is None:
        f = fit(kernel, x, y, ridge=model.ridge, spectrum_of_train=s)
    else:
        f = fit_steps(kernel, x, y, d.lr, d.momentum, d.steps, s)
    return KernelPredictor(kernel, f.x_train, context.put(f.alpha), f.left_out)
