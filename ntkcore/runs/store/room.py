"""How much may be put into a cache before it has to be measured again: a look at every file of a large one takes long.

::

    room = Room(max_bytes)
    if room.used_up(done.bytes):            # at first, and whenever half of what was left may be gone
        room.measured(total)                # bytes that are in it now
"""

import threading
import time

MEASURED = 30.0  # seconds for which a measure is good enough: others may fill the cache, too


class Room:
    """Of a cache that is to hold ``max_bytes`` at most; safe to share between threads."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._left, self._until = 0.0, 0.0
        self._lock = threading.Lock()

    def used_up(self, more: int) -> bool:
        """Whether to measure, now that so many bytes more were put there."""
        with self._lock:
            self._left -= more
            return self._left < 0 or time.monotonic() > self._until

    def measured(self, total: int) -> None:
        """So many bytes are in it."""
        with self._lock:
            self._left, self._until = (self._max_bytes - total) / 2, time.monotonic() + MEASURED
