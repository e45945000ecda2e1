"""The verdict on the second claim: by its rule on answers whose truth is known, and of nets that are really narrow."""

import numpy as np
import pytest

from ntkcore.analysis.attacks.transfer_statistics import TransferStatistics
from ntkcore.readings.verdicts import HOLDS, IN_PART, NOT_HERE, UNKNOWN, judge_transfer
from ntkcore.runs.claims.transfer import story_of, transfers_of
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store


def answers(right: int, of: int) -> np.ndarray:
    """So many right answers first, the others wrong."""
    return np.arange(of) < right


def transfers(
    kernel: dict[int, int], white: int, noise: int | None, clean: int = 450, of: int = 500
) -> TransferStatistics:
    """Two seeds of a net of each width, of which ``clean`` images are right: how many are under each attack."""
    found = {}
    for width, left in kernel.items():
        sources = {"kernel_fgsm": left, "white_fgsm": white} | ({} if noise is None else {"noise": noise})
        for source, right in sources.items():
            arrays = {"right_before": answers(clean, of), "right_after": answers(right, of)[None]}
            found |= {(f"width {width}", seed, source): arrays for seed in (0, 1)}
    return TransferStatistics(found)


@pytest.mark.parametrize(
    ("kernel", "noise", "clean", "verdict", "says"),
    [
        pytest.param({8: 350, 64: 100}, 450, 450, HOLDS, "More than half", id="wider is worse, and most is taken"),
        pytest.param({8: 400, 64: 350}, 450, 450, IN_PART, "Less than half", id="it rises, to less than half"),
        pytest.param({8: 100, 64: 100}, 450, 450, IN_PART, "cannot be told", id="most is taken, by any width alike"),
        pytest.param({8: 50, 64: 150}, 450, 450, IN_PART, "less than at width 8", id="most is taken, and it falls"),
        pytest.param({64: 100}, 450, 450, IN_PART, "one width only", id="one width"),
        pytest.param({8: 350, 64: 400}, 450, 450, NOT_HERE, "Less than half", id="little is taken, and it falls"),
        pytest.param({8: 350, 64: 100}, 120, 450, IN_PART, "more than half as much", id="random signs do as much"),
        pytest.param({8: 350, 64: 100}, None, 450, IN_PART, "no random signs", id="no random signs in the ball"),
        pytest.param({8: 250, 64: 250}, 450, 450, UNKNOWN, "Half of it lies within", id="about half is taken"),
        pytest.param({8: 200, 64: 60}, 255, 255, UNKNOWN, "better than guessing", id="nets that guess"),
        pytest.param({8: 50, 64: 50}, 50, 50, UNKNOWN, "no share", id="white box takes nothing"),
    ],
)
def test_transfer(kernel: dict[int, int], noise: int | None, clean: int, verdict: str, says: str) -> None:
    judged = judge_transfer(transfers(kernel, 50, noise, clean), tuple(kernel), 0, 0.5)
    assert judged.verdict == verdict
    assert says in judged.reason
    share = (clean - kernel[64]) / max(clean - 50, 1)
    assert judged.number == (f"{100 * share:.0f} %" if clean > 50 else "no share")


def test_narrow_nets_are_not_fooled_by_the_kernel(tmp_path) -> None:
    """The kernel is the limit of wide nets: of eight hidden units its perturbation takes less than half of what a look
    at the net takes."""
    story = story_of(Experiment()).replace(widths=(4, 8))
    store = Store(tmp_path)
    line = TransferStatistics(
        {
            name: {k: a.numpy() for k, a in result(spec, store).arrays.items()}
            for name, spec in transfers_of(story).items()
        }
    )
    judged = judge_transfer(line, story.widths, at=3, chance=0.5)
    assert line.clean("width 8").low[0] > 0.5  # they are nets that have learned something
    assert line.recovered("width 8", "kernel_fgsm", 3).high[0] < 0.5
    assert judged.verdict == NOT_HERE
