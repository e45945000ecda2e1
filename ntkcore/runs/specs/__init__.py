"""What an experiment is: frozen, validated descriptions with a canonical JSON form and a key.

A spec holds every field that changes a result and nothing that does not (device, tile size and workers stay out).
The same description is the sidebar, the URL, the command line and the cache key. A key covers all fields, defaults
too, and the stage's name and integer version::

    e = Experiment(data=DataSpec(n_train=500), net=NetSpec(family="conv", depth=2))
    key(e.sweep())                              # 32 hex digits: names the artifact of this sweep
    parse("sweep", {...})                       # JSON back to a spec, SpecError in words
"""

from ntkcore.runs import stages
from ntkcore.runs.specs.evolution import REGIME_NAMES, REGIMES, Evolution, step_share
from ntkcore.runs.specs.experiment import Experiment, experiment_from_json, experiment_of
from ntkcore.runs.specs.short import lengthen, shorten
from ntkcore.runs.specs.story import FIRST_WIDTHS, OUTSIDE, SOURCES, TWIN_PLAIN, Story, radii, source_key
from ntkcore.runs.stages import *  # noqa: F403
from ntkcore.runs.stages.phrases import balance_in_words

__all__ = [
    "FIRST_WIDTHS",
    "OUTSIDE",
    "REGIMES",
    "REGIME_NAMES",
    "SOURCES",
    "TWIN_PLAIN",
    "Evolution",
    "Experiment",
    "Story",
    "balance_in_words",
    "experiment_from_json",
    "experiment_of",
    "lengthen",
    "radii",
    "shorten",
    "source_key",
    "step_share",
]
__all__ += stages.__all__
