"""Presets: experiments worth starting from, each with what to look for.

The same names serve the Overview page and ``python -m ntkcore run --preset NAME``::

    PRESETS["start"].experiment
"""

from dataclasses import dataclass

from ntkcore.data import DataSpec
from ntkcore.runs.specs import Experiment, NetSpec


@dataclass(frozen=True)
class Preset:
    """An experiment with a title, and the sentence that says what to look for."""

    name: str
    title: str
    look_for: str
    experiment: Experiment


def _presets() -> tuple[Preset, ...]:
    sample = "fashion-mnist-sample"
    return (
        Preset(
            "start",
            "Two garments, one hidden layer",
            "The first few features survive the attack; the long tail behind them does not.",
            Experiment(),
        ),
        Preset(
            "shoes",
            "An easier pair: sneaker or ankle boot",
            "Higher accuracy, and more of it carried by robust features.",
            Experiment(data=DataSpec(name=sample, classes=("Sneaker", "Ankle boot"))),
        ),
        Preset(
            "ten",
            "All ten classes at once",
            "One-hot labels: compare usefulness with 1/10, and see which eigenvectors separate groups of garments.",
            Experiment(data=DataSpec(name=sample, classes=(), n_train=1000, n_test=200)),
        ),
        Preset(
            "deep",
            "Five hidden layers",
            "Depth flattens the spectrum: compare the effective rank and the attacked accuracy with one layer.",
            Experiment(net=NetSpec(depth=5)),
        ),
        Preset(
            "conv",
            "A convolutional kernel on small images",
            "Feature pictures become local: edges and parts instead of whole garments.",
            Experiment(data=DataSpec(n_train=400, n_test=60, size=14), net=NetSpec(family="conv", depth=2)),
        ),
        Preset(
            "toy",
            "Planted features, known truth",
            "One strong robust direction and many weak ones: the method has to find both.",
            Experiment(data=DataSpec(name="toy", n_train=500, n_test=500)),
        ),
        Preset(
            "cifar",
            "The paper's pair: airplane or automobile",
            "The paper's own setting: accuracy near 0.8 falls to almost nothing at 8/255.",
            Experiment(data=DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=100)),
        ),
    )


PRESETS: dict[str, Preset] = {preset.name: preset for preset in _presets()}
