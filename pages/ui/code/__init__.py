"""The Python lines of every page: scripts that run with the library alone and print the numbers that the page shows.

One function a page; ``script`` and ``pieces`` have what they share::

    spectrum_lines(experiment, time=1.0)          # "import ntkcore as ntk ..."
"""

from pages.ui.code.attack import attack_lines
from pages.ui.code.consistency import consistency_lines
from pages.ui.code.evolution import evolution_lines
from pages.ui.code.kernels import eigenfeatures_lines, overview_lines, spectrum_lines
from pages.ui.code.runs import runs_lines
from pages.ui.code.transfer import transfer_lines

__all__ = [
    "attack_lines",
    "consistency_lines",
    "eigenfeatures_lines",
    "evolution_lines",
    "overview_lines",
    "runs_lines",
    "spectrum_lines",
    "transfer_lines",
]
