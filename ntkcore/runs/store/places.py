"""Where results lie, and how many: the cache by default, and the results that come with the project.

::

    Store(default_root(), default_max_bytes(), shipped=SHIPPED)
"""

import os
from pathlib import Path

from ntkcore.errors import StoreError
from ntkcore.writing import user_cache

SHIPPED = Path(__file__).resolve().parents[2] / "shipped"

_DEFAULT_GB = 5.0


def default_root() -> Path:
    """``NTK_CACHE``, else ``cache/`` of the checkout, else (installed) a folder in the user's cache."""
    if chosen := os.environ.get("NTK_CACHE"):
        return Path(os.path.expanduser(chosen))
    checkout = Path(__file__).resolve().parents[3]
    if all((checkout / name).is_file() for name in ("app.py", "pyproject.toml")):
        return checkout / "cache"
    try:
        return user_cache() / "results"
    except RuntimeError:
        raise StoreError("The cache has no place: this user has no home folder. Set NTK_CACHE to a folder.") from None


def default_max_bytes() -> int:
    """``NTK_CACHE_MAX_GB`` (a number > 0), else 5 GB, in bytes."""
    text = os.environ.get("NTK_CACHE_MAX_GB", str(_DEFAULT_GB))
    try:
        gigabytes = float(text)
        if not 0 < gigabytes < float("inf"):
            raise ValueError
    except ValueError:
        raise StoreError(f"NTK_CACHE_MAX_GB is {text!r}; a number above 0 is needed, such as 5.") from None
    return int(gigabytes * 1e9)
