"""How much may be put into a cache before it has to be measured again: a look at every file of a large one takes long.

::

    room = Room()
    if room.used_up(done.bytes):            # at first, and whenever half of what was left is gone
        room.left(max_bytes - total)        # after a measure
"""

import threading
import time
from collections.abc import Callable

MEASURED = 30.0  # seconds for which a measure is good enough: others may fill the cache, too


class Room:
    """In a cache; safe to share between threads. clock: tells the time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._left, self._until = 0.0, 0.0
        self._lock = threading.Lock()

    def used_up(self, more: int) -> bool:
        """Whether to measure, now that so many bytes more were put there."""
        with self._lock:
            self._left -= more
            return self._left < 0 or self._clock() > self._until

    def left(self, size: int) -> None:
        """So many bytes were left by a measure just now; half of them, since others may be filling it, too."""
        with self._lock:
            self._left, self._until = size / 2, self._clock() + MEASURED
