"""What may happen to a file that nobody guards: each is a function of the file and of a source of random numbers."""

import os
from pathlib import Path
from random import Random


def flip(file: Path, draw: Random) -> None:
    """One bit, anywhere."""
    content = bytearray(file.read_bytes())
    if content:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)


def overwrite(file: Path, draw: Random) -> None:
    """Noise over a part."""
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content) + 1)
    content[at : at + 200] = draw.randbytes(len(content[at : at + 200]))
    file.write_bytes(content)


def cut(file: Path, draw: Random) -> None:
    """Its end is gone."""
    os.truncate(file, draw.randrange(file.stat().st_size + 1))


def empty(file: Path, draw: Random) -> None:
    """No length."""
    os.truncate(file, 0)


def remove(file: Path, draw: Random) -> None:
    """Gone."""
    file.unlink()


HARM = {harm.__name__: harm for harm in (flip, overwrite, cut, empty, remove)}
