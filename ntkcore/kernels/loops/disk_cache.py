"""Compiled loops kept on disk: sealed, made again where they are not what was written, never a reason to stop.

numba's own ``cache=True`` loads what lies there unchecked: a damaged file is a crash or a wrong kernel, and a
folder that cannot be written ends the program. Here a loop, compiled for some types on some processor, is one file::

    keep(dispatcher, stamp)       # __pycache__/dense_loops.entries-<digest>.cpython-311.loop: MARK, sha256, code

The checksum goes over the stamp (all that the code was made from) and the name as well, so what was compiled from other
sources, by another numba or for another processor is not taken up either. numba's serialisation, a pickle, is read
after that. Files lie beside the sources, or where that cannot be written in the user's cache folder, or where
NUMBA_CACHE_DIR says; where nothing can be written, nothing is kept, and each process compiles anew.
"""

import hashlib
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import numba
from numba.core.caching import InTreeCacheLocator, NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps, loads

from ntkcore.errors import NTKError
from ntkcore.writing import Taken, replacing, user_cache

MARK = b"ntkcore loop 1\n"
VERSIONS = f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, Python {sys.version}"


def keep(dispatcher: Any, stamp: str) -> None:
    """Have what numba compiles for a function kept, until the stamp or the function's own file changes."""
    dispatcher._cache = _LoopCache(dispatcher.py_func, stamp)


def can_keep(source: Path) -> bool:
    """Whether the loops of this file can be written anywhere."""
    for folder in _folders(source):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return True
    return False


class _LoopCache(NullCache):
    def __init__(self, function: FunctionType, stamp: str):
        source = Path(function.__code__.co_filename)
        own = hashlib.sha256(source.read_bytes()).hexdigest()
        self.stamp = "\n".join((VERSIONS, stamp, own))
        self.name = re.sub(r"[^\w.]", "", f"{source.stem}.{function.__qualname__}")
        self.source = source

    def load_overload(self, types: Any, target: Any) -> Any:
        """What was compiled for these types, None where that has to be done (again)."""
        target.refresh()
        name = self._file(types, target.codegen())
        for folder in _folders(self.source):
            with suppress(Exception):  # whatever is wrong with a file: the loop is compiled anew
                kept = (folder / name).read_bytes()
                seal, content = kept[len(MARK) :][:32], kept[len(MARK) + 32 :]
                if kept.startswith(MARK) and seal == self._seal(name, content):
                    return CompileResult._rebuild(target, *loads(content))
        return None

    def save_overload(self, types: Any, compiled: Any) -> None:
        """Keep it where that is possible; of two processes that compile the same at once one does."""
        if compiled.library.has_dynamic_globals or any(not loop.can_cache for loop in compiled.lifted):
            return
        name, content = self._file(types, compiled.codegen), dumps(compiled._reduce())
        for folder in _folders(self.source):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with replacing(folder / name, begins=MARK) as file:
                    file.write(MARK + self._seal(name, content) + content)
                return
            except Taken:
                return
            except (OSError, NTKError):
                continue

    def _file(self, types: Any, codegen: Any) -> str:
        made_for = hashlib.sha256(repr((types, codegen.magic_tuple())).encode()).hexdigest()
        return f"{self.name}-{made_for[:24]}.{sys.implementation.cache_tag}.loop"

    def _seal(self, name: str, content: bytes) -> bytes:
        return hashlib.sha256(b"\n".join((self.stamp.encode(), name.encode(), content))).digest()


def _folders(source: Path) -> list[Path]:
    """Where the loops of a file may be kept, the best place first."""
    below = InTreeCacheLocator.get_suitable_cache_subpath(str(source))
    if numba.config.CACHE_DIR:
        return [Path(numba.config.CACHE_DIR) / below]
    found = [source.parent / "__pycache__"]
    with suppress(RuntimeError):  # nobody's home
        found.append(user_cache() / "loops" / below)
    return found
