"""The estimate of the remaining time, on a clock that the test moves."""

import pytest

from ntkcore.runs.worker.jobs import Eta


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def drive(eta, clock, reports):
    """Feed (seconds since the last report, done, total)."""
    for step, done, total in reports:
        clock.now += step
        eta.update(done, total)


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        pytest.param([], None, id="nothing reported"),
        pytest.param([(0, 0, 10)], None, id="one report"),
        pytest.param([(0, 0, 10), (0.1, 1, 10)], None, id="too early to tell"),
        pytest.param([(0, 0, 10), (1, 1, 10), (1, 2, 10)], 8.0, id="steady"),
        pytest.param([(30, 0, 10), (1, 1, 10), (1, 2, 10)], 8.0, id="waiting before the first report is not work"),
        pytest.param([(0, 5, 10), (2, 6, 10)], 8.0, id="begins in the middle"),
        pytest.param([(0, 0, 4), (6, 1, 4)], 18.0, id="few long steps"),
        pytest.param([(0, 0, 10), (1, 5, 10), (1, 0, 4), (1, 1, 4)], 3.0, id="new phase starts afresh"),
        pytest.param([(0, 0, 10), (1, 5, 10), (0, 5, 10)], 1.0, id="same share again changes nothing"),
        pytest.param([(0, 0, 10), (5, 10, 10)], 0.0, id="finished"),
        pytest.param([(0, 0, 0), (5, 3, 0)], None, id="total unknown"),
    ],
)
def test_eta(reports, expected):
    clock = Clock()
    eta = Eta(clock)
    drive(eta, clock, reports)
    assert eta.seconds == (None if expected is None else pytest.approx(expected))


def test_eta_counts_down_and_gives_up_when_overdue():
    clock = Clock()
    eta = Eta(clock)
    drive(eta, clock, [(0, 0, 10), (1, 1, 10), (1, 2, 10)])
    clock.now += 3
    assert eta.seconds == pytest.approx(5.0)
    clock.now += 6
    assert eta.seconds is None


def test_eta_follows_a_change_of_speed():
    clock = Clock()
    eta = Eta(clock)
    drive(eta, clock, [(0, 0, 1000)] + [(0.1, i, 1000) for i in range(1, 101)])  # 10 a second
    assert eta.seconds == pytest.approx(90.0, rel=1e-6)
    drive(eta, clock, [(1.0, i, 1000) for i in range(101, 161)])  # then 1 a second for a minute
    assert 0.8 * 840 < eta.seconds < 840
