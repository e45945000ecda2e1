"""The errors of the library: one root, a few kinds, each message a sentence a user can act on.

A message says what was got, what is needed and how to mend it::

    raise SpecError("n_train is 0; at least 2 images are needed. Choose a larger n_train.")

What it quotes may be anybody's: a message stands on one line, without control characters, and never grows long.
"""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 500
"""Characters of a message; what is longer is cut in its middle."""


def brief(text: object, longest: int = LONGEST) -> str:
    """The text on one line: control and other invisible characters written out (``\\x1b``), the middle cut out."""
    words = " ".join(str(text).split())
    if len(words) > longest:
        half = (longest - 5) // 2
        words = f"{words[:half]} ... {words[-half:]}"
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown if shown == words else brief(shown, longest)


def reason(error: Exception) -> str:
    """Why an operation on a file was refused, without Python's own words around it."""
    return getattr(error, "strerror", None) or str(error).rstrip(".") or type(error).__name__


@contextmanager
def optional(package: str, what: str) -> Iterator[None]:
    """Imports from a package that only some of the library needs: NTKError with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise NTKError(f"{what} needs {package}, which is not installed: pip install {package}.") from error


class NTKError(Exception):
    """Root of every error that the library raises on purpose. ``str(error)`` is fit to be shown to a user."""

    def __str__(self) -> str:
        return brief(super().__str__())


class SpecError(NTKError, ValueError):
    """A description (of data, a net, an attack, an experiment) that cannot be carried out as written."""


class DataError(NTKError, ValueError):
    """Data that are missing, unreadable or not of the form that is needed."""


class StoreError(NTKError, RuntimeError):
    """An artifact on disk that is missing, broken or cannot be written."""


class WorkerError(NTKError, RuntimeError):
    """The worker process could not be started, or ended without finishing its job."""


class Cancelled(NTKError):
    """Raised out of a progress callback to stop a computation; not a failure."""
