"""Architectures to compare on the images of an experiment, and the size at which the expensive ones can be compared.

::

    experiments = compared(experiment)                    # {"FC(1)": Experiment, "Conv(2)": Experiment, ...}
    agreement_of(experiments)                             # the spec of their comparison
"""

from collections.abc import Mapping

from ntkcore import data
from ntkcore.runs.specs import ConsistencySpec, Experiment, GradientsSpec, NetSpec

ARCHITECTURES = {
    "FC(1)": NetSpec(),
    "FC(3)": NetSpec(depth=3),
    "FC(5)": NetSpec(depth=5),
    "Conv(2)": NetSpec(family="conv", depth=2),
    "Conv(4)": NetSpec(family="conv", depth=4),
    "Myrtle-5": NetSpec(family="myrtle", depth=5),
    "Myrtle-7": NetSpec(family="myrtle", depth=7),
}
COMPARED = ["FC(1)", "Conv(2)", "FC(3)", "Myrtle-5"]
IMAGES = 500  # of training, and of the test
SMALL = 16  # pixels a side at which Myrtle kernels take seconds, not an hour


def sides(spec: data.DataSpec) -> list[int | str]:
    """The side of the images of a description, and smaller ones."""
    smaller = [side for side in data.info(spec).sizes if side >= 4 and (spec.size is None or side < spec.size)]
    return [spec.size or "full", *smaller]


def small_side(spec: data.DataSpec) -> int | str:
    """The largest side at which all architectures are quick; the description's own where there is none."""
    return max((side for side in sides(spec) if isinstance(side, int) and side <= SMALL), default=spec.size or "full")


def with_net(experiment: Experiment, name: str) -> Experiment:
    """The experiment with another architecture; weights and activation stay the sidebar's."""
    own, other = experiment.net, ARCHITECTURES[name]
    net = own.replace(family=other.family, depth=other.depth)
    return experiment.infinite().replace(net=net)


def compared(experiment: Experiment) -> dict[str, Experiment]:
    """The architectures that are compared when nothing else is chosen, on few and small images."""
    spec, side = experiment.data, small_side(experiment.data)
    few = {"n_train": min(IMAGES, spec.n_train), "n_test": min(IMAGES, spec.n_test)}
    smaller = spec.replace(**few, size=None if side == "full" else side)
    return {name: with_net(experiment.replace(data=smaller), name) for name in COMPARED}


def same_comparison(experiments: Mapping[str, Experiment], other: Experiment) -> dict[str, Experiment]:
    """The same architectures on the images of another experiment, as many and as small, as far as it has them."""
    now, spec = next(iter(experiments.values())).data, other.data
    smaller = spec.replace(
        n_train=min(now.n_train, spec.n_train), n_test=min(now.n_test, spec.n_test), size=now.size or spec.size
    )
    return {name: with_net(other.replace(data=smaller), name) for name in experiments}


def few(experiment: Experiment) -> Experiment:
    """On the test images at which gradients are taken: kernels are compared on the training images."""
    spec = experiment.data
    return experiment.replace(data=spec.replace(n_test=min(GradientsSpec.model_fields["images"].default, spec.n_test)))


def agreement_of(experiments: Mapping[str, Experiment]) -> ConsistencySpec:
    """The comparison of the kernels of some experiments."""
    first = next(iter(experiments.values()))
    return ConsistencySpec(kernels=tuple(few(e).kernel() for e in experiments.values()), leading=first.eigenpairs)
