"""One artifact on disk: a folder with ``arrays.safetensors`` and ``meta.json``, and how to know it is whole.

``meta.json`` is a sealed envelope: its field ``sha256`` is the SHA-256 of the same text with that field left
out, and ``arrays_sha256`` is that of the arrays file. A reader rebuilds the text from what it parsed and
compares it with the file byte for byte, so a changed byte anywhere in either file is noticed. What is sealed can still
be odd, of another version or made by hand, so every field is judged before it is used. Links are not followed. Nothing
is ever unpickled: the arrays are in the safetensors format (a JSON table of names, types and shapes, then the raw
little-endian numbers; https://github.com/huggingface/safetensors#format).

Arrays come back as CPU tensors of the shape and type they were stored with::

    write(folder, "kernel", key, {"k": torch.eye(3)}, {"seconds": 0.1})
    artifact = read(folder, "kernel", key)          # raises Broken when anything does not match
    artifact.arrays["k"]                            # read from disk here, not before
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import safetensors

from ntkcore.errors import StoreError
from ntkcore.runs.store import folders
from ntkcore.writing import sync_folder

if TYPE_CHECKING:
    import torch

ARRAYS = "arrays.safetensors"
META = "meta.json"
FORMAT = 1

_MOST = 1 << 24  # bytes of meta.json that are read
_LATEST = 253_402_128_000.0  # seconds since the epoch, the last day of the year 9999: a calendar has no later one
_LONGEST = 1e9  # seconds a run can have taken


class Signature(NamedTuple):
    """Equal for two looks at a file when it is the same file and has not been written to in between."""

    inode: int
    mtime_ns: int
    size: int


class Broken(Exception):
    """The files of an artifact are not what was written; ``str(error)`` says which and how."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """The result of one stage for one key.

    ``created`` and ``used`` are seconds since the epoch, ``bytes`` is the size of both files, ``shapes`` has
    the shape of each array by name; ``arrays`` are the tensors by name, read when first asked for.
    """

    stage: str
    key: str
    meta: Mapping[str, Any]
    created: float
    used: float
    bytes: int
    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    arrays: Arrays

    @property
    def words(self) -> str:
        """What it is, in words: one line of at most 300 letters; empty when its meta does not say."""
        words = self.meta.get("words")
        words = " ".join(words.split())[:300] if isinstance(words, str) else ""
        return "".join(letter if letter.isprintable() else "?" for letter in words)

    @property
    def seconds(self) -> float:
        """How long it took; NaN when its meta does not say."""
        seconds = self.meta.get("seconds")
        return float(seconds) if _is_number(seconds) and 0 <= seconds < _LONGEST else float("nan")


class Arrays(Mapping[str, "torch.Tensor"]):
    """Read-only mapping of names to CPU tensors; each is read from the file once, at first use.

    The tensors are copies of the file's content, shared by all readers of this mapping: clone before changing
    one in place. Raises :class:`StoreError` when the file was dropped or changed since it was opened.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], signature: Signature, sha256: str):
        self.path, self.signature, self.sha256 = path, signature, sha256
        self.verified = False
        self._shapes = shapes
        self._loaded: dict[str, torch.Tensor] = {}

    def verify(self) -> None:
        """Read the whole file; raises :class:`Broken` if it is not what was written, OSError if gone."""
        if digest(self.path) != self.sha256:
            raise Broken(f"{ARRAYS} does not match its checksum")
        if _shapes_in(self.path) != self._shapes:
            raise Broken(f"{META} tells of other arrays than those in {ARRAYS}")
        self.verified = True

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._shapes:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._read(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def __repr__(self) -> str:
        return f"Arrays({', '.join(self._shapes)})"

    def _read(self, name: str) -> torch.Tensor:
        try:
            if signature(self.path) != self.signature:
                raise Broken("it changed after it was opened")
            if not self.verified:
                self.verify()
            # "pread", not a memory map: a mapped file that somebody truncates ends the process (SIGBUS).
            with safetensors.safe_open(self.path, framework="pt", backend="pread") as file:
                return file.get_tensor(name)
        except (Broken, OSError, safetensors.SafetensorError) as error:
            raise StoreError(f"{self.path} can no longer be read: {error}. Run it again.") from error


def write(
    folder: Path,
    stage: str,
    key: str,
    arrays: Mapping[str, torch.Tensor | np.ndarray],
    meta: Mapping[str, Any],
) -> None:
    """Write both files into the existing, empty ``folder`` and flush them to the disk.

    ``meta`` must be JSON (Python's: NaN and Infinity allowed). Raises :class:`StoreError` for what cannot be
    represented, OSError or SafetensorError for what the disk refuses.
    """
    try:
        meta = json.loads(json.dumps(dict(meta)))
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"The meta of {stage}/{key} is not JSON: {error}. Use text, numbers, lists and dicts of them."
        ) from error
    table = _save(folder / ARRAYS, f"{stage}/{key}", arrays)
    _sync(folder / ARRAYS)
    body = {
        "format": FORMAT,
        "stage": stage,
        "key": key,
        "created": time.time(),
        "arrays": table,
        "arrays_bytes": (folder / ARRAYS).stat().st_size,
        "arrays_sha256": digest(folder / ARRAYS),
        "meta": meta,
    }
    with open(folder / META, "wb") as file:
        file.write(_seal(body))
        file.flush()
        os.fsync(file.fileno())
    with suppress(OSError):  # where files have no permissions
        os.chmod(folder / ARRAYS, stat.S_IMODE((folder / META).stat().st_mode))  # safetensors makes it its owner's
    sync_folder(folder)


def read(folder: Path, stage: str, key: str) -> Artifact:
    """The artifact in ``folder``, its envelope checked; the arrays are checked by ``verify()`` or when read.

    Raises :class:`Broken`, or OSError as the file system gives it.
    """
    raw = _content(folder / META)
    body = _open_seal(raw)
    if (body["stage"], body["key"]) != (stage, key):
        raise Broken(f"{META} belongs to {body['stage'][:60]}/{body['key'][:60]}")
    now = signature(folder / ARRAYS)
    if now.size != body["arrays_bytes"]:
        raise Broken(f"{ARRAYS} has {now.size} bytes instead of {body['arrays_bytes']}")
    shapes = {name: tuple(row["shape"]) for name, row in body["arrays"].items()}
    return Artifact(
        stage=stage,
        key=key,
        meta=body["meta"],
        created=float(body["created"]),
        used=folder.stat().st_mtime,
        bytes=now.size + len(raw),
        path=folder,
        shapes=shapes,
        arrays=Arrays(folder / ARRAYS, shapes, now, body["arrays_sha256"]),
    )


def strangers(folder: Path) -> list[str]:
    """The names in an artifact's folder that are not its own two files.

    A link of such a name is none of them, nor is a folder, unless it is empty: that is damage.
    """
    return [
        entry.name
        for entry in folders.content(folder)
        if entry.name not in (ARRAYS, META)
        or not (entry.is_file(follow_symlinks=False) or folders.is_empty(folder / entry.name))
    ]


def size_of(folder: Path) -> int:
    """Bytes of an artifact's own files; those that are missing count nothing."""
    total = 0
    for name in (ARRAYS, META):
        with suppress(OSError, Broken):
            total += signature(folder / name).size
    return total


def is_sealed(folder: Path, stage: str, key: str) -> bool:
    """Whether meta.json opens and belongs to this stage and key, whatever the arrays are like."""
    try:
        body = _open_seal(_content(folder / META))
    except (Broken, OSError):
        return False
    return (body["stage"], body["key"]) == (stage, key)


def is_ours(folder: Path, stage: str, key: str) -> bool:
    """Whether a folder in an artifact's place is one, whole or damaged: nothing else lies in it, or it is sealed. One
    that may not be looked into counts as somebody else's."""
    try:
        return not strangers(folder) or is_sealed(folder, stage, key)
    except StoreError as error:
        if isinstance(error.__cause__, PermissionError):
            return False
        raise


def signature(file: Path) -> Signature:
    """The :class:`Signature` of ``file`` as it is now; raises :class:`Broken` for a link or a folder."""
    found = os.lstat(file)
    if not stat.S_ISREG(found.st_mode):
        raise Broken(f"{file.name} is not a file")
    return Signature(found.st_ino, found.st_mtime_ns, found.st_size)


def digest(file: Path) -> str:
    """SHA-256 of a file's content, hexadecimal (about 0.6 GB/s)."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)  # Windows flushes only what may be written
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _seal(body: dict[str, Any]) -> bytes:
    """The text of ``meta.json`` for an envelope without its seal."""
    seal = hashlib.sha256(_text(body)).hexdigest()
    return _text({**body, "sha256": seal})


def _text(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=1) + "\n").encode("ascii")


@lru_cache(4096)  # a page looks at the same hundred again and again
def _open_seal(raw: bytes) -> dict[str, Any]:
    """The envelope in ``raw``, without its seal, to be read only; raises Broken when it is not exactly what was
    written."""
    try:
        body = json.loads(raw)
        if not isinstance(body, dict) or body.pop("sha256", None) is None or _seal(body) != raw:
            raise Broken(f"{META} does not match its checksum")
    except (ValueError, RecursionError) as error:
        raise Broken(f"{META} is not JSON ({error})") from error
    if body.get("format") != FORMAT:
        raise Broken(f"{META} is of format {_short(body.get('format'))}; this version reads format {FORMAT}")
    for name, (fits, needed) in _FIELDS.items():
        if not fits(body.get(name)):
            raise Broken(f"{META} has {_short(body.get(name))} as its {name}; {needed} is needed")
    return body


def _is_number(value: Any) -> TypeGuard[float]:
    """A number of JSON that can be reckoned with: no truth value, not infinite, not too long for a float."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 1 << 63)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_table(value: Any) -> bool:
    """Types and shapes of arrays by name, as ``_save`` gives them."""
    return isinstance(value, dict) and all(
        isinstance(row, dict)
        and isinstance(row.get("dtype"), str)
        and isinstance(row.get("shape"), list)
        and all(_is_size(side) for side in row["shape"])
        for row in value.values()
    )


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "stage": (lambda value: isinstance(value, str), "a text"),
    "key": (lambda value: isinstance(value, str), "a text"),
    "created": (lambda value: _is_number(value) and 0 <= value < _LATEST, "a time in seconds since the epoch"),
    "arrays": (_is_table, "a table of types and shapes"),
    "arrays_bytes": (_is_size, "a number of bytes"),
    "arrays_sha256": (lambda value: isinstance(value, str), "a checksum"),
    "meta": (lambda value: isinstance(value, dict), "an object with named fields"),
}


def _short(value: Any) -> str:
    text = type(value).__name__ if isinstance(value, list | dict) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _content(file: Path) -> bytes:
    """The bytes of a regular file that is not too large for a meta.json; raises Broken for anything else."""
    if signature(file).size > _MOST:
        raise Broken(f"{file.name} is too large")
    return file.read_bytes()


def _shapes_in(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in a safetensors file by name, from its header."""
    try:
        with safetensors.safe_open(file, framework="np", backend="pread") as found:
            return {name: tuple(found.get_slice(name).get_shape()) for name in found.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise Broken(f"{ARRAYS} is not in the safetensors format ({error})") from error


def _save(file: Path, name: str, arrays: Mapping[str, torch.Tensor | np.ndarray]) -> dict[str, dict[str, Any]]:
    """Write ``arrays`` as safetensors; returns the table of types and shapes for the envelope."""
    ready = {label: _plain(value, label, name) for label, value in arrays.items()}
    specs = {
        label: safetensors.TensorSpec(
            dtype=str(value.dtype).removeprefix("torch."),
            shape=tuple(value.shape),
            data_ptr=value.ctypes.data if isinstance(value, np.ndarray) else value.data_ptr(),
            data_len=value.nbytes,
        )
        for label, value in ready.items()
    }
    try:
        safetensors.serialize_file(specs, file)
    except safetensors.SafetensorError as error:
        if "Unknown dtype" in str(error):
            raise StoreError(f"{name} has an array of a type that cannot be stored: {error}") from error
        raise
    return {label: {"dtype": spec.dtype, "shape": list(spec.shape)} for label, spec in specs.items()}


def _plain(value: torch.Tensor | np.ndarray, label: str, name: str) -> torch.Tensor | np.ndarray:
    """``value`` in CPU memory, dense, in C order and little-endian: its bytes lie as they go to the file."""
    if not isinstance(label, str) or label in ("", "__metadata__"):
        raise StoreError(f"An array of {name} is called {label!r}; a non-empty text is needed.")
    if isinstance(value, np.ndarray):
        return np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
    torch = sys.modules.get("torch")  # a caller with tensors has imported it; a caller without need not wait for it
    if torch is None or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
        raise StoreError(
            f"Array {label!r} of {name} is a {type(value).__name__}; a dense tensor or NumPy array is needed."
        )
    return value.detach().cpu().resolve_conj().resolve_neg().contiguous()
