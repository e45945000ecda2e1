"""The experiment in the sidebar: every choice a widget bound to the URL, together one validated Experiment.

The names of the URL parameters are the widgets' keys (``data``, ``classes``, ``n``, ``net``, ``eps``, ...). A value
that a link brings and that does not fit falls back to its default, with a notice::

    sidebar.draw(page.url_path)         # in app.py
    experiment = sidebar.experiment()   # in a page: an Experiment, or the NTKError that says what does not fit
"""

import streamlit as st

from ntkcore import data
from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.analysis.attacks.balls import BALLS
from ntkcore.errors import NTKError
from ntkcore.nets import ACTIVATIONS, FAMILIES
from ntkcore.readings.words import radius
from ntkcore.runs.device import devices
from ntkcore.runs.specs import EpochSpec, Experiment, NetSpec, Rule, key
from pages.ui.controls.checkpoints import checkpoint_control, way_back
from pages.ui.shell.navigation import set_controls
from pages.ui.shell.plain import complaint

TITLES = {family.title: name for name, family in FAMILIES.items()}
DEEPEST = 10  # what is offered; descriptions may go deeper
# What the Transfer page begins with: a convolution of width w costs w^2 at every pixel.
FIRST_WIDTHS = {"fc": [32, 128, 512, 2048], "conv": [8, 32, 128], "myrtle": [8, 16, 32]}
FIRST_RADIUS = {"linf": 16.0, "l2": 2.0}
RATES = (0.1, 0.05, 0.01)
INFINITE_NETS = ("attack", "transfer", "evolution", "consistency")  # pages that show them whatever kernel is chosen
DEFAULT = Experiment()
NAMES = [*data.SOURCES, "own"]


def experiment(any_kernel: bool = False) -> Experiment | NTKError:
    """The experiment as the sidebar says it, or the error that says why the choices do not fit.

    any_kernel: the page asks for no kernel of the experiment, so an empirical one without its checkpoint will do.
    """
    chosen = st.session_state.get("experiment")
    if any_kernel and not isinstance(chosen, Experiment):
        chosen = st.session_state.get("without_kernel") or chosen
    return chosen


def draw(page: str) -> None:
    """All controls, and the resulting Experiment (or the NTKError that says why not) in the session.

    page: the address of the page that is open. While a checkpoint's kernel is looked at, the net and the inputs have an
    effect only on those that show infinite nets too.
    """
    before = st.session_state.get("experiment")
    st.session_state.without_kernel = None
    spec = problem = None
    try:
        spec = _data()
    except NTKError as error:  # the other controls are drawn all the same: those left out would lose their values
        problem = error
    try:
        above, between = st.container(), st.container()
        idle = page not in INFINITE_NETS
        rule, inputs, kind, precision, ridge, checkpoint = _more(idle)
        with above:
            if kind == "empirical":
                way_back(checkpoint, idle)
            net = _net(disabled=idle and kind == "empirical")
        with between:
            attack = _attack()
        rest = {"inputs": inputs, "precision": precision, "attack": attack, "ridge": ridge, "rule": rule}
        if isinstance(checkpoint, NTKError) and problem is None:
            st.session_state.without_kernel = Experiment(data=spec, net=net, **rest)
            problem = checkpoint
        st.session_state.experiment = problem or Experiment(
            data=spec, net=net, kind=kind, checkpoint=checkpoint, **rest
        )
    except NTKError as error:
        st.session_state.experiment = problem or error
    if before is not None and str(before) != str(st.session_state.experiment):
        st.session_state.pop("refused", None)
    judge_link()


def apply(chosen: Experiment) -> None:
    """Set every control to ``chosen``; to be used in a button's callback, so that the URL follows."""
    family = FAMILIES[chosen.net.family].title
    is_fgsm = chosen.attack.one_step
    values = {
        "data": chosen.data.name,
        "classes": list(chosen.data.classes),
        "n": chosen.data.n_train,
        "m": chosen.data.n_test,
        "size": chosen.data.size or "full",
        "order": chosen.data.order,
        "draw": chosen.data.seed,
        "digest": chosen.data.digest or "",
        "net": family,
        "depth": chosen.net.depth,
        "w": chosen.net.W_std,
        "b": chosen.net.b_std,
        "act": chosen.net.activation,
        "kind": chosen.kind,
        "checkpoint": "" if chosen.checkpoint is None else key(chosen.checkpoint),
        "inputs": chosen.inputs,
        "precision": chosen.precision,
        "ridge": chosen.ridge,
        "attack": "FGSM" if is_fgsm else "PGD",
        "norm": chosen.attack.norm,
        "eps": chosen.attack.eps * BALLS[chosen.attack.norm].unit,
        "steps": 10 if is_fgsm else chosen.attack.steps,
        "start": chosen.attack.random_start,
        "fdr": chosen.rule.fdr,
        "keep": chosen.rule.keep,
    }
    set_controls(values)


# -- the groups of controls --------------------------------------------------------------------------------------


def _data() -> data.DataSpec:
    name = st.selectbox("Data set", NAMES, key="data", bind="query-params", on_change=_data_changed)
    digest = _own() if name == "own" else None
    known = data.info(data.DataSpec(name=name, classes=(), digest=digest) if digest else name)
    classes = st.multiselect(
        "Classes",
        known.classes,
        default=_first_classes(known),
        key="classes",
        bind="query-params",
        help="Two classes make a binary task, the first is -1; more are told apart one-hot.",
    )
    train, test = known.limits(classes or known.classes)
    usual = known.usual(classes or known.classes)
    left, right = st.columns(2)
    n = left.number_input("Training images", 2, max(2, train), usual[0], 100, key="n", bind="query-params")
    m = right.number_input("Test images", 1, max(1, test), usual[1], 100, key="m", bind="query-params")
    with st.expander("Image size and draw"):
        sizes = ["full", *(side for side in known.sizes if side >= 4)]
        size = st.selectbox("Image side after average pooling", sizes, key="size", bind="query-params")
        order = st.selectbox(
            "Order",
            ["balanced", "own"],
            key="order",
            bind="query-params",
            help="balanced: the classes take turns, so that they have the same number of images, as far as there are "
            "that many. own: the first images of the chosen classes in the set's own order, however many of each.",
        )
        seed = st.number_input(
            "Draw",
            0,
            2**32 - 1,
            None,
            key="draw",
            bind="query-params",
            placeholder="first images",
            help="Empty: the first images of each class in the set. A number draws others at random.",
        )
    if len(classes) < 2:
        raise NTKError("Choose at least two classes in the sidebar.")
    return data.DataSpec(
        name=name,
        classes=tuple(classes),
        n_train=n,
        n_test=m,
        order=order,
        size=None if size == "full" else size,
        seed=seed,
        digest=digest,
    )


def _own() -> str:
    """Upload of own data; the fingerprint is what the link carries."""
    st.file_uploader(
        "Your images (.npz)",
        "npz",
        key="upload",
        on_change=_take_upload,
        help="x_train, y_train, x_test, y_test; uint8 or float in [0, 1]; N x H x W, N x H x W x C or N x C x H x W.",
    )
    refused, problem = st.session_state.get("upload_problem", (None, ""))
    if st.session_state.upload is not None and st.session_state.upload.file_id == refused:
        st.error(complaint(problem))
    digest = st.text_input("Fingerprint of your data", key="digest", bind="query-params", placeholder="upload a file")
    if not digest:
        raise NTKError("Upload an .npz with your own images in the sidebar, or choose another data set.")
    return digest


def _take_upload() -> None:
    file = st.session_state.upload
    if file is None:
        return
    try:
        own = data.import_npz(file.getvalue())
    except NTKError as error:
        st.session_state.upload_problem = file.file_id, str(error)  # said as long as this file is in the field
        return
    st.session_state.arrival = {}  # what the link said is about other data
    st.session_state.digest = own.digest
    st.session_state.classes = list(own.classes)
    known = data.info(data.DataSpec(name="own", classes=(), digest=own.digest))
    st.session_state.n, st.session_state.m = known.usual(own.classes)


def _data_changed() -> None:
    """Another data set: its own first classes, and sizes that it has."""
    st.session_state.arrival = {}
    known = data.SOURCES.get(st.session_state.data)
    if known is None:
        return
    classes = _first_classes(known)
    st.session_state.classes = classes
    st.session_state.n, st.session_state.m = known.usual(classes)
    st.session_state.size = "full"


def _first_classes(known: data.Source) -> list[str]:
    """What stands in the field before anything is chosen: the set's own pair, for own data all classes."""
    return list(known.default_classes or known.classes)


def _net(disabled: bool) -> NetSpec:
    family = st.segmented_control(
        "Architecture",
        list(TITLES),
        default=FAMILIES[DEFAULT.net.family].title,
        required=True,
        key="net",
        bind="query-params",
        on_change=_family_changed,
        width="stretch",
        disabled=disabled,
    )
    kind = FAMILIES[TITLES[family]]
    options = [depth for depth in kind.depths if depth <= DEEPEST]
    depth = st.selectbox(
        "Depth",
        options,
        index=options.index(kind.usual),
        key="depth",
        bind="query-params",
        help="Hidden layers; Myrtle comes in three depths.",
        disabled=disabled,
    )
    with st.expander("Weights and activation"):
        bound = {"bind": "query-params", "disabled": disabled}
        w = st.number_input("Weight scale W_std", 0.01, 10.0, 2**0.5, 0.1, format="%.4f", key="w", **bound)
        b = st.number_input("Bias scale b_std", 0.0, 10.0, 0.1, 0.05, format="%.3f", key="b", **bound)
        activation = st.segmented_control(
            "Activation", list(ACTIVATIONS), default="relu", required=True, key="act", **bound
        )
    return NetSpec(family=TITLES[family], depth=depth, W_std=w, b_std=b, activation=activation)


def _family_changed() -> None:
    family = TITLES[st.session_state.net]
    st.session_state.depth = FAMILIES[family].usual
    if "widths" in st.session_state:  # of nets of another kind
        st.session_state.widths = FIRST_WIDTHS[family]


def _attack() -> Attack:
    left, right = st.columns([3, 2])
    kind = left.segmented_control(
        "Attack", ["FGSM", "PGD"], default="FGSM", required=True, key="attack", bind="query-params", width="stretch"
    )
    norm = right.selectbox("Ball", list(BALLS), key="norm", bind="query-params", on_change=_norm_changed)
    if norm == "linf":
        label, top, step = "Radius eps, in 1/255", 255.0, 1.0
    else:
        label, top, step = "Radius eps, l2 norm of the pixels", 100.0, 0.1
    eps = st.number_input(label, 0.0, top, 8.0, step, format="%.2f", key="eps", bind="query-params")
    size = eps / BALLS[norm].unit
    if kind == "FGSM":
        return fgsm(size, norm)
    left, right = st.columns(2, vertical_alignment="bottom")
    steps = left.number_input("Steps", 1, 200, 10, key="steps", bind="query-params")
    start = right.toggle("Random start", key="start", bind="query-params")
    return pgd(size, steps, norm=norm, random_start=start)


def _norm_changed() -> None:
    norm = st.session_state.norm
    st.session_state.eps = 8.0 if norm == "linf" else 1.0
    if "radius" in st.session_state:
        st.session_state.radius = FIRST_RADIUS[norm]
        st.session_state["at"] = radius_in_words(FIRST_RADIUS[norm] / BALLS[norm].unit / 2, norm)


def radius_in_words(eps: float, norm: str) -> str:
    """ "eps 4/255" or "ℓ2 eps 0.5"."""
    return f"{'' if norm == 'linf' else 'ℓ2 '}eps {radius(eps, norm)}"


def _more(idle: bool) -> tuple[Rule, str, str, str, float, EpochSpec | NTKError | None]:
    with st.expander("Kernel, inputs and classes of features"):
        kind = st.segmented_control(
            "Kernel",
            ["ntk", "nngp", "empirical"],
            default="ntk",
            required=True,
            key="kind",
            bind="query-params",
            help="Of the infinite net, its tangent kernel or that of its outputs at random weights; or the tangent "
            "kernel of a finite net in training, chosen on the Evolution page.",
        )
        checkpoint = checkpoint_control(kind == "empirical")
        inputs = st.selectbox(
            "Inputs",
            ["raw", "centre", "standardise"],
            key="inputs",
            bind="query-params",
            help="How the kernel sees pixels: as they are, minus the training mean, or also over their deviation.",
            disabled=idle and kind == "empirical",
        )
        ridge = st.number_input("Ridge", 0.0, None, 0.0, 0.1, format="%.4f", key="ridge", bind="query-params")
        precision = st.selectbox(
            "Precision of the kernel", ["float64", "float32"], key="precision", bind="query-params"
        )
        if len(devices()) > 2:
            st.selectbox("Device", devices(), key="device", persist_state="session", help="Changes no result.")
        fdr = st.selectbox(
            "Useful: false discovery rate",
            RATES,
            index=RATES.index(DEFAULT.rule.fdr),
            key="fdr",
            bind="query-params",
            help="A feature is useful when its answers know the test labels: an exact test of each feature against "
            "permuted labels. Of the features called useful, this share at most is there by chance, on average.",
        )
        keep = st.slider(
            "Robust: share of right answers kept",
            0.1,
            1.0,
            DEFAULT.rule.keep,
            0.05,
            key="keep",
            bind="query-params",
            help="A useful feature is robust when it keeps at least this share of its right answers under the attack.",
        )
    return Rule(fdr=fdr, keep=keep), inputs, kind, precision, ridge, checkpoint


# -- values that a link brought and no control could take ----------------------------------------------------------


def judge_link(page_drawn: bool = False) -> bool:
    """Whether a control that is there for the first time since the link opened did not take the link's value.

    Called when the sidebar is drawn, and again by app.py when the page's own controls are; then the link is done.
    """
    arrival = st.session_state.get("arrival") or {}
    drawn = [name for name in arrival if name in st.session_state]
    refused = [name for name in drawn if _differs(name, arrival.pop(name))]
    if refused:
        st.session_state.refused = [*st.session_state.get("refused", ()), *refused]
    if page_drawn:
        arrival.clear()
    return bool(refused)


def notice() -> str | None:
    """A sentence that names the link's values that were not taken, until the experiment is changed."""
    refused = st.session_state.get("refused")
    if not refused:
        return None
    return f"The link's {_listed(refused)} could not be used as written: what the controls show is used instead."


def _differs(name: str, values: list[str]) -> bool:
    taken = st.session_state[name]
    if isinstance(taken, list):
        return sorted(str(value) for value in taken) != sorted(value for value in values if value)
    text = values[-1] if values else ""
    if isinstance(taken, bool):
        return text.lower() != str(taken).lower()
    if isinstance(taken, int | float):
        try:
            return float(text) != float(taken)
        except ValueError:
            return True
    return text != ("" if taken is None else str(taken))


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
