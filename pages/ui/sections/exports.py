"""One run out of the cache: its line in the table, a zip with spec, arrays and figures, and the way back to its page.

::

    run_zip(entry)            # bytes: spec.json, arrays.safetensors, meta.json, figures as HTML
    open_run(entry)           # in a callback: the sidebar takes the run's experiment, its page opens
"""

import json
from functools import lru_cache

from ntkcore.errors import NTKError
from ntkcore.figures import export
from ntkcore.runs import specs
from ntkcore.runs.stages import IMAGE
from ntkcore.runs.store import Artifact
from pages.ui.controls import sidebar
from pages.ui.shell.links import go_to, set_controls
from pages.ui.shell.services import services
from pages.ui.views import view_of


def open_run(entry: Artifact) -> None:
    """Set the sidebar to the run's experiment and go to the page that shows it."""
    spec = specs.parse(entry.stage, entry.meta["spec"])
    sidebar.apply(specs.experiment_of(spec))
    view = view_of(spec)
    go_to(view.page, **view.controls(spec))


def pin_run(entry: Artifact) -> None:
    """In a callback: the run's experiment is the pinned one."""
    set_controls({"pin": specs.shorten(specs.experiment_of(specs.parse(entry.stage, entry.meta["spec"])))})


def spec_of(entry: Artifact) -> specs.StageSpec | None:
    """What the run was of; None when another version of the app wrote it, of which this one would compute another."""
    return _parsed(entry.stage, entry.key, json.dumps(entry.meta.get("spec")))


@lru_cache(4096)  # Runs asks for all of them with every control that moves
def _parsed(stage: str, key: str, text: str) -> specs.StageSpec | None:
    try:
        spec = specs.parse(stage, json.loads(text))
    except NTKError:
        return None
    return spec if specs.key(spec) == key else None


def net_in_words(entry: Artifact) -> str:
    """The run's architecture and attack, short: "FC(1) NTK, FGSM ℓ∞ eps 8/255"."""
    if entry.stage == IMAGE:
        return ""
    spec = spec_of(entry)
    return "of another version" if spec is None else view_of(spec).label_of(spec)


def run_zip(entry: Artifact) -> bytes:
    """The run as a zip: spec.json (an experiment for the command line), arrays, meta, figures as HTML."""
    spec = specs.parse(entry.stage, entry.meta["spec"])
    text = json.dumps(specs.experiment_of(spec).model_dump(mode="json"), indent=2)
    files = {"experiment.json": text.encode()}
    artifact = services().store.get(entry.stage, entry.key)
    if artifact is not None:
        pictures = view_of(spec).figures(spec, artifact)
        if pictures:
            files |= {f"figures/{name}": content for name, content in export.directory_files(pictures).items()}
    return services().store.export_zip(entry.stage, entry.key, files)
