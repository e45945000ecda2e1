"""The experiment in the sidebar: every choice a widget bound to the URL, together one validated Experiment.

``EXPERIMENT`` has a row for each control. A value that a link brings and that does not fit falls back to its default,
with a notice (``shell.links``)::

    sidebar.draw(page.url_path)         # in app.py
    experiment = sidebar.experiment()   # in a page: an Experiment, or the NTKError that says what does not fit
    sidebar.apply(experiment)           # in a button's callback
"""

from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ntkcore import data
from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.analysis.attacks.balls import BALLS
from ntkcore.errors import NTKError
from ntkcore.nets import ACTIVATIONS, FAMILIES
from ntkcore.runs import demo
from ntkcore.runs.device import devices
from ntkcore.runs.specs import FIRST_WIDTHS, Experiment, key
from pages.ui.controls.checkpoint import back_to_the_infinite_net, find_checkpoint
from pages.ui.controls.control import Choice, Controls, Number, Several, Text, Toggle
from pages.ui.controls.transfer import FIRST_RADIUS, radius_in_words
from pages.ui.controls.used import hide, unused
from pages.ui.shell.links import judge_link, set_controls
from pages.ui.shell.plain import complaint

TITLES = {family.title: name for name, family in FAMILIES.items()}
DEEPEST = 10  # what is offered; descriptions may go deeper
RATES = (0.1, 0.05, 0.01)
INFINITE_NETS = ("attack", "transfer", "evolution", "consistency")  # pages that show them whatever kernel is chosen


class Numbers(NamedTuple):
    """How many images of the chosen classes there are, and how many are taken at first."""

    train: int
    test: int
    usual_train: int
    usual_test: int


def _first_classes(known: data.Source) -> list[str]:
    """What stands in the field before anything is chosen: the set's own pair, for own data all classes."""
    return list(known.default_classes or known.classes)


def _sides(known: data.Source) -> list[int | str]:
    return ["full", *(side for side in known.sizes if side >= 4)]


def _data_changed() -> None:
    """Another data set: its own first classes, and sizes that it has."""
    st.session_state.arrival = {}
    known = data.SOURCES.get(st.session_state.data)
    if known is None:
        return
    classes = _first_classes(known)
    n, m = known.usual(classes)
    set_controls({"classes": classes, "n": n, "m": m, "size": "full"})


def _family_changed() -> None:
    family = TITLES[st.session_state.net]
    set_controls({"depth": FAMILIES[family].usual})
    if "widths" in st.session_state:  # of nets of another kind
        set_controls({"widths": list(FIRST_WIDTHS[family])})


def _norm_changed() -> None:
    norm = st.session_state.norm
    set_controls({"eps": 8.0 if norm == "linf" else 1.0})
    if "radius" in st.session_state:
        half = radius_in_words(FIRST_RADIUS[norm] / BALLS[norm].unit / 2, norm)
        set_controls({"radius": FIRST_RADIUS[norm], "at": half})


EXPERIMENT = Controls(
    Experiment(),
    Choice("data", "Data set", "data.name", [*data.SOURCES, "own"], on_change=_data_changed),
    Text("digest", "Fingerprint of your data", "data.digest", absent="", placeholder="upload a file"),
    Several(
        "classes",
        "Classes",
        "data.classes",
        lambda known: known.classes,
        start=_first_classes,
        help="Two or more. The labels of more than two are one-hot.",
    ),
    Number("n", "Training images", "data.n_train", 2, lambda of: of.train, 100, start=lambda of: of.usual_train),
    Number("m", "Test images", "data.n_test", 1, lambda of: of.test, 100, start=lambda of: of.usual_test),
    Choice(
        "size",
        "Image side, in pixels",
        "data.size",
        _sides,
        absent="full",
        help="Smaller than full: each pixel is the mean of a square of pixels.",
    ),
    Choice(
        "order",
        "Which images",
        "data.order",
        ["balanced", "own"],
        help="As many of each class: the classes take turns, as far as there are that many images. Or the first images "
        "of the chosen classes in the set's own order, however many of each.",
    ),
    Number(
        "draw",
        "Random draw, by its number",
        "data.seed",
        *(0, 2**32 - 1),
        placeholder="first images",
        help="Empty: the first images of each class in the set. A number draws others at random.",
    ),
    Choice(
        "net",
        "Architecture",
        "net.family",
        TITLES,
        "stretch",
        on_change=_family_changed,
        help="FC: fully connected layers. Conv: convolutions of 3 x 3 pixels. Myrtle: these with pooling in between.",
    ),
    Choice(
        "depth",
        "Depth",
        "net.depth",
        lambda family: [depth for depth in FAMILIES[family].depths if depth <= DEEPEST],
        start=lambda family: FAMILIES[family].usual,
        help="Hidden layers, without the last one; of Myrtle all layers.",
    ),
    Number(
        "w",
        "Spread of the weights, W_std",
        "net.W_std",
        *(0.01, 10.0, 0.1, "%.4f"),
        help="A weight's standard deviation, before it is scaled as NTK parameterisation does.",
    ),
    Number(
        "b",
        "Spread of the biases, b_std",
        "net.b_std",
        *(0.0, 10.0, 0.05, "%.3f"),
        help="Their standard deviation. A bias is the constant that a unit adds.",
    ),
    Choice(
        "act",
        "Activation",
        "net.activation",
        list(ACTIVATIONS),
        "content",
        help="The function that each hidden unit applies to the sum of its inputs.",
    ),
    Choice(
        "kind",
        "Kernel",
        "kind",
        ["ntk", "nngp", "empirical"],
        "content",
        help="NTK and NNGP are those of the infinite net; the empirical one of a trained net is chosen on Evolution.",
    ),
    Text(
        "checkpoint",
        "Network of the empirical kernel",
        read=lambda e: "" if e.checkpoint is None else key(e.checkpoint),
        placeholder="chosen on Evolution",
    ),
    Choice(
        "inputs",
        "Pixels as the network sees them",
        "inputs",
        ["raw", "centre", "standardise"],
        help="Centred: minus the mean training image. Standardised: also over the standard deviation "
        "of all training pixels.",
    ),
    Number("ridge", "Ridge", "ridge", 0.0, None, 0.1, "%.4f"),
    Choice(
        "precision",
        "Precision of the kernel",
        "precision",
        ["float64", "float32"],
        help="Double: about 16 digits. Single: about 7, in less time and memory.",
    ),
    Choice(
        "leading",
        "Features that are computed",
        "leading",
        ["usual", "all", 100, 200, 500, 1000, 2000],
        absent="usual",
        help="The leading ones have the largest eigenvalues, and take seconds where all take minutes or hours. Pages "
        "say what is left out. n is the number of training images.",
    ),
    Choice("attack", "Attack", "", ["FGSM", "PGD"], "stretch", read=lambda e: "FGSM" if e.attack.one_step else "PGD"),
    Choice("norm", "How the radius is measured", "attack.norm", list(BALLS), on_change=_norm_changed),
    Number(
        "eps",
        lambda norm: "Radius, in steps of 1/255" if norm == "linf" else "Radius, ℓ2 norm over all pixels",
        "",
        0.0,
        lambda norm: 255.0 if norm == "linf" else 100.0,
        lambda norm: 1.0 if norm == "linf" else 0.1,
        "%.2f",
        read=lambda e: e.attack.eps * BALLS[e.attack.norm].unit,
    ),
    Number("steps", "Steps of PGD", "", 1, 200, read=lambda e: 10 if e.attack.one_step else e.attack.steps),
    Toggle(
        "start",
        "Random start",
        "attack.random_start",
        help="From a random image within the radius, not from the image itself.",
    ),
    Choice(
        "fdr",
        "Useful: share of false finds (FDR)",
        "rule.fdr",
        RATES,
    ),
    Number(
        "keep",
        "Robust: share of right answers kept",
        "rule.keep",
        *(0.1, 1.0, 0.05),
        slider=True,
    ),
)


def experiment(any_kernel: bool = False) -> Experiment | NTKError:
    """The experiment as the sidebar says it, or the error that says why the choices do not fit.

    any_kernel: the page asks for no kernel of the experiment, so an empirical one without its checkpoint will do.
    """
    chosen = st.session_state.get("experiment")
    if any_kernel and not isinstance(chosen, Experiment):
        chosen = st.session_state.get("without_kernel") or chosen
    return chosen


def apply(chosen: Experiment) -> None:
    """Set every control to ``chosen``; to be used in a button's callback, so that the URL follows."""
    set_controls(EXPERIMENT.values(chosen))


def draw(page: str) -> None:
    """All controls, and the resulting Experiment (or the NTKError that says why not) in the session.

    page: the address of the page that is open. What it does not look at is not shown (``used``), and keeps its value.
    While a checkpoint's kernel is looked at, the net and the inputs have an effect only on pages that show infinite
    nets too.
    """
    before = st.session_state.get("experiment")
    st.session_state.without_kernel = None
    hidden = st.container()
    above, attack, images, net = (st.container(key=f"settings-{name}") for name in ("above", "attack", "images", "net"))
    rest, spec, problem = {}, None, None
    no_effect = page not in INFINITE_NETS
    try:
        with images:
            known, of_data = _data()
    except NTKError as error:  # the other controls are drawn all the same: those left out would lose their values
        problem, known, of_data = error, None, {}
    try:
        with st.expander("More settings", key="settings-more"):
            with _group("Attack"):
                norm = EXPERIMENT.draw("norm")["norm"]
            with _group("Images"):
                of_data |= {} if known is None else EXPERIMENT.draw("size", "order", "draw", of=known)
            network = _group("Network")
            with _group("Kernel"):
                chosen = EXPERIMENT.draw("kind")
                empirical = chosen["kind"] == "empirical"
                name = EXPERIMENT.draw("checkpoint", disabled=not empirical)["checkpoint"]
                checkpoint = find_checkpoint(name) if empirical else None
                chosen |= EXPERIMENT.draw("inputs", disabled=no_effect and empirical)
                chosen |= EXPERIMENT.draw("ridge", "precision", "leading")
                if len(devices()) > 2:
                    st.selectbox("Device", devices(), key="device", persist_state="session", help="Changes no result.")
            with _group("Features"):
                chosen |= EXPERIMENT.draw("fdr", "keep")
        disabled = no_effect and empirical
        with net:
            chosen |= EXPERIMENT.draw("net", disabled=disabled)
            chosen |= EXPERIMENT.draw("depth", of=chosen["net"], disabled=disabled)
        with network:
            chosen |= EXPERIMENT.draw("w", "b", "act", disabled=disabled)
        if empirical:
            with above:
                back_to_the_infinite_net(checkpoint, no_effect)
        with attack:
            rest = EXPERIMENT.fields(chosen) | {"attack": _attack(norm)}
        spec = None if problem else _spec(of_data)
        if isinstance(checkpoint, NTKError) and problem is None:
            st.session_state.without_kernel = Experiment(data=spec, **rest | {"kind": "ntk"})
            problem = checkpoint
        st.session_state.experiment = problem or Experiment(data=spec, checkpoint=checkpoint, **rest)
    except NTKError as error:
        st.session_state.experiment = problem or error
    if before is not None and str(before) != str(st.session_state.experiment):
        st.session_state.pop("refused", None)
    nothing_to_see = page == "runs" and isinstance(st.session_state.experiment, NTKError)  # it asks for a choice
    with hidden:
        hide(frozenset() if nothing_to_see else unused(page))
    judge_link()


def _group(title: str) -> DeltaGenerator:
    """A part of the folded settings."""
    place = st.container(key=f"settings-more-{title.lower()}")
    place.caption(title)
    return place


def _data() -> tuple[data.Source, dict[str, Any]]:
    """What is drawn of the data above the folded settings."""
    chosen = EXPERIMENT.draw("data")
    name, digest = chosen["data"], None
    if name == "own":
        chosen |= _own()
        digest = chosen["digest"]
    known = data.info(data.DataSpec(name=name, classes=(), digest=digest) if digest else name)
    chosen |= EXPERIMENT.draw("classes", of=known)
    classes = chosen["classes"] or known.classes
    chosen |= EXPERIMENT.row(2, "n", "m", of=Numbers(*known.limits(classes), *known.usual(classes)))
    return known, chosen


def _spec(chosen: dict[str, Any]) -> data.DataSpec:
    if len(chosen["classes"]) < 2:
        raise NTKError("Choose at least two classes in the sidebar.")
    return data.DataSpec(**EXPERIMENT.fields(chosen)["data"])


def _own() -> dict[str, Any]:
    """Upload of own data; the fingerprint is what the link carries."""
    switched_off = demo.against_upload()
    if switched_off is None:
        st.file_uploader(
            "Your images (.npz)",
            "npz",
            key="upload",
            on_change=_take_upload,
            help="Images x_train and x_test: number x height x width, for colours x 3; from 0 to 1, or whole numbers "
            "from 0 to 255. Labels y_train and y_test: a whole number an image. Names, if wanted: classes.",
        )
        refused, problem = st.session_state.get("upload_problem", (None, ""))
        if st.session_state.upload is not None and st.session_state.upload.file_id == refused:
            st.error(complaint(problem))
    chosen = EXPERIMENT.draw("digest")
    if chosen["digest"] is None:
        words = "Upload an .npz with your own images in the sidebar, or choose another data set."
        raise NTKError(switched_off or words)
    return chosen


def offer_example() -> None:
    """On the page, while own data are wanted and none are there: how a file is made, and one to try."""
    if st.session_state.get("data") != "own" or st.session_state.get("digest") or demo.against_upload():
        return
    st.markdown("Six lines of Python make such a file; put your own images and labels in the place of `x` and `y`:")
    st.code(data.EXAMPLE, language="python")
    name, made = "images.npz", data.example_npz
    st.download_button("Download the file that they make", made, name, on_click="ignore", icon=":material/download:")


def _take_upload() -> None:
    file = st.session_state.upload
    if file is None or demo.against_upload():
        return
    try:
        own = data.import_npz(file.getvalue())
    except NTKError as error:
        st.session_state.upload_problem = file.file_id, str(error)  # shown as long as this file is in the field
        return
    st.session_state.arrival = {}  # what the link said is about other data
    st.session_state.digest = own.digest
    known = data.info(data.DataSpec(name="own", classes=(), digest=own.digest))
    n, m = known.usual(own.classes)
    set_controls({"classes": list(own.classes), "n": n, "m": m})


def _attack(norm: str) -> Attack:
    chosen = EXPERIMENT.draw("attack")
    eps = EXPERIMENT.draw("eps", of=norm)["eps"] / BALLS[norm].unit
    if chosen["attack"] == "FGSM":
        return fgsm(eps, norm)
    chosen = EXPERIMENT.row(2, "steps", "start", align="bottom")
    return pgd(eps, chosen["steps"], norm=norm, random_start=chosen["start"])
