"""What a talk shows, and so what has to be there before it begins: the story of an experiment, and what presets open.

The app and ``ntkcore prepare`` compute it in one job of the worker; what is there already costs nothing::

    wanted = talk_specs(experiment, [PRESETS["start"]])        # of the seven claims, then of the preset
    ready_in_words(story=True, presets=1)    # "All seven claims and 1 preset are ready ..."
"""

from collections.abc import Sequence

from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.presets import Preset
from ntkcore.runs.specs import Experiment, RobustFeaturesSpec, StageSpec, key

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def story_specs(e: Experiment) -> tuple[StageSpec, ...]:
    """All that the screens of the story show of an experiment."""
    return tuple(spec for claim in CLAIMS for spec in claim.specs(e).values())


def first_specs(e: Experiment) -> tuple[StageSpec, ...]:
    """What the Overview computes of an experiment under attack: one image, and all test images."""
    return (*CLAIMS[0].specs(e).values(), e.predict())


def overview_specs(e: Experiment) -> tuple[StageSpec, ...]:
    """All that it shows: every feature as a dot, too, which it draws only where that is there."""
    return (*first_specs(e), RobustFeaturesSpec(curves=e.curves()))


def opened_specs(preset: Preset) -> tuple[StageSpec, ...]:
    """What the page computes which a preset opens: of finite nets, Transfer; of nets in training, Evolution; of a
    kernel, Overview."""
    return preset.specs or first_specs(preset.experiment)


def preset_specs(preset: Preset) -> tuple[StageSpec, ...]:
    """All that it shows, and of a kernel what Spectrum and Eigenfeatures show beside pictures of single features."""
    return preset.specs or (*overview_specs(preset.experiment), *preset.experiment.stages())


def talk_specs(story: Experiment | None, presets: Sequence[Preset]) -> tuple[StageSpec, ...]:
    """Both together, each result once. story: the experiment whose story is told, if one is."""
    told = () if story is None else story_specs(story)
    every = [*told, *(spec for preset in presets for spec in preset_specs(preset))]
    return tuple({key(spec): spec for spec in every}.values())


def ready_in_words(story: bool, presets: int) -> str:
    """What is said when all of it is there."""
    parts = [f"all {NUMBERS[len(CLAIMS)]} claims"] if story else []
    parts += [f"{presets} preset{'s' * (presets > 1)}"] if presets else []
    told = " and ".join(parts)
    verb = "is" if not story and presets == 1 else "are"
    return f"{told[:1].upper()}{told[1:]} {verb} ready. Other images and features are drawn when asked for."
