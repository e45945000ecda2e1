"""Starts the dashboard with its modules loaded, so that the first visitor does not wait for them.

It listens some seconds later than ``streamlit run app.py`` does, and takes the same options::

    python -m pages.ui.serve --server.port 8501
"""

import gc
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from streamlit.web import cli

import pages.ui

APP = Path(__file__).resolve().parents[2] / "app.py"


def load() -> None:
    """Import all that pages import; what is loaded stays, and no look for garbage has to go through it."""
    for module in walk_packages(pages.ui.__path__, "pages.ui."):
        import_module(module.name)
    import_module("scipy.stats")  # which scipy itself loads when it is first used
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load()
    sys.argv[1:1] = ["run", str(APP)]
    cli.main(prog_name="streamlit")
