"""The drills of the campaign, small: each finds nothing."""

import pytest

from tests.campaign.__main__ import DRILLS

# bad things in each drill; 5 where nothing is said
SMALL = {
    "kills": 4,
    "artifacts": 4,
    "foreign": 3,
    "loops": 1,
    "kernels": 4,
    "writers": 3,
}


@pytest.mark.parametrize("name", DRILLS)
def test_drill(name, tmp_path):
    assert DRILLS[name](SMALL.get(name, 5), 0, tmp_path) == []
