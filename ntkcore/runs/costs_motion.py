"""The work of the stages of a kernel in motion, counted for ``ntkcore.runs.costs``: what they need, how much they do.

A forward pass of an image counts as the operations of its products, a backward pass as two of them::

    inputs(MomentSpec(...))                     # [TangentSpec, ...]
    work(spec, n, m, c, flops, weights)         # Work(flops=..., cubed=..., bytes=...)
"""

from dataclasses import dataclass

from ntkcore.runs import specs

LINEAR = 4.0  # times a net's own pass: values and derivatives, forward and backward


@dataclass(frozen=True)
class Work:
    """Single-precision operations, n^3 of eigendecompositions, and bytes beside the net's own."""

    flops: float
    cubed: float = 0.0
    bytes: float = 0.0


def inputs(spec: specs.StageSpec) -> list[specs.StageSpec]:
    """The stages that this one reads."""
    if isinstance(spec, specs.EpochSpec):
        return [specs.EpochSpec.at(spec.run, spec.epoch - 1)] if spec.epoch else []
    if isinstance(spec, specs.MomentSpec):
        return [*spec.earlier[-1:], spec.tangent]  # that one has needed those before it
    if isinstance(spec, specs.GlimpseSpec):
        return [spec.tangent.checkpoint, spec.tangent]
    return [spec.checkpoint]


def stand_in(run: specs.RunSpec) -> specs.TwinSpec | specs.NetworkSpec:
    """The run's net as the spec of a net whose size is known."""
    if isinstance(run.net, specs.TwinNet):
        return specs.TwinSpec(kernel=specs.KernelSpec(data=run.data, net=run.net.net), width=run.net.width)
    return specs.NetworkSpec(kernel=specs.KernelSpec(data=run.data), name=run.net.name)


def work(spec: specs.StageSpec, n: int, m: int, c: int, flops: float, weights: float) -> Work:
    """n, m: training and test images; c: outputs; flops: of one image's forward pass; weights: of the net."""
    checkpoint = specs.checkpoint_of(spec)
    net = flops * (LINEAR if checkpoint.run.linear_from is not None else 1.0)
    if isinstance(spec, specs.EpochSpec):
        attack = checkpoint.run.attack
        return Work(3 * n * net * (1 + (attack.steps if attack else 0)) if spec.epoch else net)
    if isinstance(spec, specs.ScoreSpec):
        return Work(_judging(spec, min(spec.n_test, m) + min(spec.n_train, n), net))
    if isinstance(spec, specs.FrozenSpec):
        size = c * min(spec.n, n)
        solve = weights * size**2 + size**3
        return Work(solve + _judging(spec, min(spec.n_test, m) + min(spec.n, n), LINEAR * net), bytes=16.0 * size**2)
    probe = spec.n if isinstance(spec, specs.TangentSpec) else spec.tangent.n
    size = c * probe
    if isinstance(spec, specs.TangentSpec):
        return Work(weights * size**2 + 4 * c * probe * flops, bytes=8.0 * size**2)
    if isinstance(spec, specs.MomentSpec):
        looks = -(-spec.tangent.checkpoint.epoch // spec.every) + 1
        return Work(looks * 8.0 * size**2, cubed=size**3, bytes=40.0 * size**2)
    return Work(spec.features * 4 * LINEAR * probe * flops, cubed=size**3, bytes=40.0 * size**2)


def on_checkpoint(spec: specs.StageSpec, n: int, m: int, c: int, flops: float, weights: float) -> Work:
    """A stage of the kernel side whose kernel is a checkpoint's; arguments as in ``work``."""
    if isinstance(spec, specs.KernelSpec):
        double = 4 if spec.precision == "float64" else 2  # operations a product, in single-precision time
        return Work(double * weights * c * (n * n / 2 + n * m) + 12.0 * c * (n + m) * flops, bytes=16.0 * n * n)
    if isinstance(spec, specs.SpectrumSpec):
        return Work(0.0, cubed=float(n) ** 3, bytes=40.0 * n * n)
    attack = getattr(spec, "attack", None) or spec.sweep.attack
    direction, image = 3 * c * n * flops, 3 * c * LINEAR * flops  # of one predictor; of one image's gradient
    predictors, images, steps = {
        specs.SweepSpec: (n, m / 2, attack.steps),
        specs.CurvesSpec: (85 * c, m / 2, attack.steps),
        specs.PicturesSpec: (n, 3, 1),
        specs.PredictSpec: (c, m, attack.steps + 11),
    }.get(type(spec), (c, 40, 11))
    return Work(predictors * (direction + images * (steps + 1) * image), bytes=40.0 * n * n)


def _judging(spec: specs.ScoreSpec | specs.FrozenSpec, images: int, flops: float) -> float:
    return images * flops * 3 * (spec.fgsm.steps + spec.pgd.steps + 1)
