"""Timings of the product's main steps, each with what it is compared to: ``python -m bench`` (``make bench``).

Nothing here is a test: a number depends on the machine and on what else it is doing, so every report begins with the
machine and gives the median of several rounds with the fastest and the slowest one.
"""

import ntkcore  # noqa: F401  before torch and numpy: it says how their idle threads wait
