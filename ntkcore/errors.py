"""The errors of the library: one root, a few kinds, each message a sentence a user can act on.

A message says what was got, what is needed and how to mend it::

    raise SpecError("n_train is 0; at least 2 images are needed. Choose a larger n_train.")
"""


class NTKError(Exception):
    """Root of every error that the library raises on purpose. ``str(error)`` is fit to be shown to a user."""


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
