"""A folder byte for byte, to be held against itself later.

::

    before = listing(folder)
    ...
    assert listing(folder) == before
"""

import os
import stat
from pathlib import Path


def listing(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every name below ``folder``, links not followed: the mode of each; of a file also when it was written and its
    content, of a link its target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        what = path.lstat()
        if path.is_symlink():
            content: tuple[object, ...] = (os.readlink(path),)
        else:
            content = (what.st_mtime_ns, path.read_bytes()) if stat.S_ISREG(what.st_mode) else ()
        found[str(path.relative_to(folder))] = (what.st_mode, *content)
    return found
