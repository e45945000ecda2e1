"""Presets: experiments worth starting from, each with what to look for.

The same names serve the Overview page and ``python -m ntkcore run --preset NAME``::

    PRESETS["start"].experiment
    PRESETS["story"].story                      # of finite nets: None for the others
    PRESETS["evolution"].evolution              # of nets in training: None for the others
"""

from dataclasses import dataclass
from functools import cached_property

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.data import DataSpec
from ntkcore.runs.specs import TWIN_PLAIN, Evolution, Experiment, NamedNet, NetSpec, StageSpec, Story, radii
from ntkcore.training import Schedule


@dataclass(frozen=True)
class Preset:
    """An experiment with a title, and the sentence that says what to look for.

    story: of a preset that is about finite nets; it opens on the Transfer page. evolution: of one about nets in
    training; it opens on the Evolution page.
    """

    name: str
    title: str
    look_for: str
    experiment: Experiment
    story: Story | None = None
    evolution: Evolution | None = None

    @cached_property
    def specs(self) -> tuple[StageSpec, ...]:
        """What is computed of its nets; empty for one about a kernel."""
        if self.evolution is not None:
            return tuple(self.evolution.wanted().values())
        return tuple(self.story.transfers().values()) if self.story else ()


def _presets() -> tuple[Preset, ...]:
    sample = "fashion-mnist-sample"
    return (
        Preset(
            "start",
            "Two garments, one hidden layer",
            "A few of the first features are robust; of those further back that are useful alone, most are brittle.",
            Experiment(),
        ),
        Preset(
            "shoes",
            "An easier pair: sneaker or ankle boot",
            "Compare with the garments: how many images are right, and how much of that is left under attack?",
            Experiment(data=DataSpec(name=sample, classes=("Sneaker", "Ankle boot"))),
        ),
        Preset(
            "ten",
            "All ten classes at once",
            "One-hot labels: guessing gives 1 in 10. Look which eigenvectors separate groups of garments.",
            Experiment(data=DataSpec(name=sample, classes=())),
        ),
        Preset(
            "deep",
            "Five hidden layers",
            "Compare with one layer: the effective rank, and how the features fare under attack.",
            Experiment(net=NetSpec(depth=5)),
        ),
        Preset(
            "conv",
            "A convolutional kernel on small images",
            "Compare the pictures of features with those of a net of one layer: where on the garment do they lie?",
            Experiment(data=DataSpec(n_train=400, n_test=100, size=14), net=NetSpec(family="conv", depth=2)),
        ),
        Preset(
            "toy",
            "Planted features, known truth",
            "One robust direction and two brittle groups of stripes are planted: are they found for what they are?",
            Experiment(data=DataSpec(name="toy", n_train=500)),
        ),
        Preset(
            "cifar",
            "The paper's pair: airplane or automobile",
            "The paper's own setting: most images are right, and under FGSM at 8/255 almost none.",
            Experiment(data=DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000)),
        ),
        _story(
            "story",
            "Attacks without training, against trained nets",
            "Does the kernel do more of white-box FGSM's damage the wider the net, and noise next to none?",
            DataSpec(n_train=500, n_test=300),
            widths=(64, 128, 512, 2048),  # at this rate a seed of width 32 diverges
            eps=12.75 / 255,
        ),
        _story(
            "lazy",
            "Trained as the kernel, or otherwise",
            "A wide twin follows the kernel. Do a twin and a small CNN that are trained by SGD?",
            DataSpec(n_train=500, n_test=300),
            widths=(128, 2048),
            eps=12.75 / 255,
            outside=(TWIN_PLAIN, "cnn-small"),
        ),
        _story(
            "story-ten",
            "The transfer with ten classes",
            "One-hot labels, the same recursion: do gradients still come closer to the kernel's with the width?",
            DataSpec(classes=(), n_train=1000, n_test=200),
            widths=(32, 128, 512, 2048),
            eps=12.75 / 255,
        ),
        _story(
            "story-cifar",
            "The transfer on the paper's pair",
            "Airplane or automobile in colour: small radii already do the damage, through the kernel too.",
            DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=1000, n_test=300),
            widths=(32, 128, 512, 2048),
            eps=8 / 255,
        ),
        _evolution(
            "evolution",
            "The kernel in motion: standard against adversarial training",
            "Under attack the kernel stays in fewer eigenvectors and is lazy earlier, if lazy is below a tenth of its "
            "first velocity. Move the threshold.",
            Evolution(
                data=DataSpec(n_train=1000, n_test=200),
                inputs="centre",
                epochs=10,
                fgsm=fgsm(16 / 255),
                pgd=pgd(16 / 255, 7, 4 / 255),
                tested=100,
                judged=10,
            ),
        ),
        _evolution(
            "evolution-cifar",
            "The kernel in motion on the paper's pair",
            "Airplane or automobile, three seeds: whether the kernel gathers and settles more under attack.",
            Evolution(
                data=DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=200),
                inputs="centre",
            ),
        ),
        _evolution(
            "evolution-paper",
            "The paper's own protocol",
            "Ten classes of CIFAR-10, the larger CNN, 200 epochs, PGD of 20 steps; one seed, which cannot tell the "
            "trainings apart. Start it from the command line: `python -m ntkcore evolve --preset evolution-paper` goes "
            "on where it was stopped.",
            Evolution(
                data=DataSpec(name="cifar10", classes=(), n_train=50_000, n_test=1000),
                net=NamedNet(name="cnn-large", init="torch"),
                regimes=("standard", "pgd"),
                seeds=1,
                epochs=200,
                schedule=Schedule(lr=0.01, batch=250),
                fgsm=fgsm(8 / 255),
                pgd=pgd(8 / 255, 20, 2 / 255),
                tested=1000,
                judged=1000,
                probe=250,
                every=10,
            ),
        ),
    )


def _evolution(name: str, title: str, look_for: str, e: Evolution) -> Preset:
    """A preset about nets in training; the sidebar's attack is that of FGSM training."""
    return Preset(name, title, look_for, Experiment(data=e.data, inputs=e.inputs, attack=e.fgsm), evolution=e)


def _story(
    name: str,
    title: str,
    look_for: str,
    spec: DataSpec,
    widths: tuple[int, ...],
    eps: float,
    outside: tuple[str, ...] = (),
) -> Preset:
    """A preset about FC(1) and its finite twins on centred pixels; eps: the largest radius."""
    experiment = Experiment(data=spec, inputs="centre")
    story = Story(kernel=experiment.ntk(), widths=widths, eps=radii(eps), outside=outside)
    return Preset(name, title, look_for, experiment, story)


PRESETS: dict[str, Preset] = {preset.name: preset for preset in _presets()}
FRONT = ("start", "shoes", "ten", "toy", "story", "evolution")  # what the Overview shows first; all on bundled data
