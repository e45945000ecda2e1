"""The version of the library; ``ntkcore.__version__`` is this."""

__version__ = "0.1.0"
