"""The Evolution page's controls, and what its results say together.

::

    e = evolution_controls(experiment)                    # an Evolution; stops the page with a sentence otherwise
    histories(need_all(e.wanted(), "..."), e)
"""

from collections.abc import Mapping

import streamlit as st

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.analysis.evolution.histories import Histories
from ntkcore.architectures import ARCHITECTURES
from ntkcore.errors import NTKError
from ntkcore.runs.specs import REGIME_NAMES, Evolution, Experiment, NamedNet, RunSpec, TwinNet
from ntkcore.runs.store import Artifact
from ntkcore.training import Schedule
from pages.ui.shell.plain import complaint

TWIN = "twin of the sidebar's net"
NETS = {**{words: name for name, words in ARCHITECTURES.items()}, TWIN: ""}
DEFAULT = Evolution()
SEEDS = "Of first weights and order of batches. Trainings are compared seed by seed; fewer than three cannot tell."


def evolution_controls(experiment: Experiment) -> Evolution:
    """Net, regimes, epochs, seeds, training and probe set, as one validated Evolution."""
    words = {name: label for label, name in NETS.items()}
    a, b, c, d = st.columns([3, 3, 1, 1])
    name = a.selectbox(
        "Network", list(NETS), list(NETS).index(words[DEFAULT.net.name]), key="trained", bind="query-params"
    )
    chosen = b.multiselect(
        "Training on",
        list(REGIME_NAMES.values()),
        default=[REGIME_NAMES[regime] for regime in DEFAULT.regimes],
        key="regimes",
        bind="query-params",
        help="Clean images (standard), or what FGSM or PGD makes of each batch with the net as it is then. The radius "
        "and the ball are the sidebar's.",
    )
    epochs = c.number_input("Epochs", 1, 10_000, DEFAULT.epochs, key="epochs", bind="query-params")
    seeds = d.number_input("Seeds", 1, 5, DEFAULT.seeds, key="eseeds", bind="query-params", help=SEEDS)
    with st.expander("Training, attacks and probe set"):
        net = _net(experiment, name)
        schedule = _schedule()
        steps, step, tested, judged = _pgd(experiment)
        probe, attacked, every = _probe(experiment)
        solved_on, ridge = _solved(experiment)
    freeze = _freeze(epochs)
    ball = experiment.attack.eps, experiment.attack.norm
    try:
        if not chosen:
            raise NTKError("Choose at least one kind of training: standard, FGSM or PGD.")
        return Evolution(
            data=experiment.data,
            inputs=experiment.inputs,
            net=net,
            regimes=tuple(regime for regime, label in REGIME_NAMES.items() if label in chosen),
            seeds=seeds,
            epochs=epochs,
            schedule=schedule,
            fgsm=fgsm(*ball),
            pgd=pgd(ball[0], steps, step, norm=ball[1]),
            every=every,
            tested=tested,
            judged=judged,
            probe=probe,
            attacked=attacked,
            freeze=freeze,
            solved_on=solved_on,
            ridge=ridge,
        )
    except NTKError as error:
        st.error(complaint(error))
        st.stop()


def _net(experiment: Experiment, name: str) -> NamedNet | TwinNet:
    a, b = st.columns(2)
    if name == TWIN:
        width = a.number_input("Width", 1, 8192, 256, key="ewidth", bind="query-params")
        forms = ["standard", "ntk"]
        form = b.selectbox("Parameterisation", forms, key="form", bind="query-params")
        return TwinNet(net=experiment.net, width=width, parameterisation=form)
    init = a.selectbox(
        "Initial weights",
        ["he", "torch"],
        key="init",
        bind="query-params",
        help="He et al. 2015, or the default of torch's layers.",
    )
    return NamedNet(name=NETS[name], init=init)


def _schedule() -> Schedule:
    a, b, c, d = st.columns(4)
    usual = DEFAULT.schedule
    lr = a.number_input("Learning rate", 1e-6, 1e6, usual.lr, format="%.4g", key="elr", bind="query-params")
    momentum = b.number_input("Momentum", 0.0, 0.999, usual.momentum, 0.1, key="emomentum", bind="query-params")
    batch = c.number_input("Batch", 1, 10_000, usual.batch, key="batch", bind="query-params")
    loss = d.selectbox("Loss", ["cross_entropy", "squared"], key="loss", bind="query-params")
    return Schedule(loss=loss, lr=lr, momentum=momentum, batch=batch)


def _pgd(experiment: Experiment) -> tuple[int, float, int, int]:
    """Steps of PGD and their size, in training and in judging; how many test and training images are judged."""
    a, b, c, d = st.columns(4)
    steps = a.number_input("PGD steps", 1, 200, DEFAULT.pgd.steps, key="psteps", bind="query-params")
    share = b.number_input(
        "PGD step, share of the radius", 0.001, 10.0, 0.25, 0.05, format="%.3f", key="pstep", bind="query-params"
    )
    m, n = (max(1, count) for count in (experiment.data.n_test, experiment.data.n_train))
    tested = c.number_input(
        "Test images judged",
        1,
        m,
        min(DEFAULT.tested, m),
        key="tested",
        bind="query-params",
        help="The first ones, after every epoch, clean and under both attacks: most of the time goes there.",
    )
    judged = d.number_input("Training images judged", 1, n, min(DEFAULT.judged, n), key="judged", bind="query-params")
    return steps, share * experiment.attack.eps, tested, judged


def _probe(experiment: Experiment) -> tuple[int, bool, int]:
    a, b, c, _ = st.columns(4, vertical_alignment="bottom")
    n = experiment.data.n_train
    probe = a.number_input(
        "Probe images",
        2,
        max(2, n),
        min(DEFAULT.probe, max(2, n)),
        key="probe",
        bind="query-params",
        help="The kernel is taken on the first training images, the same ones at every epoch.",
    )
    every = b.number_input("Kernel every … epochs", 1, 1000, 1, key="every", bind="query-params")
    attacked = c.toggle(
        "Attacked probe",
        key="attacked",
        bind="query-params",
        help="Every checkpoint sees the probe images as FGSM through itself perturbs them.",
    )
    return probe, attacked, every


def _solved(experiment: Experiment) -> tuple[int, float]:
    """Images and ridge of frozen nets in closed form."""
    a, b, _ = st.columns([1, 1, 2])
    n = min(max(2, experiment.data.n_train), 20_000)
    images = a.number_input(
        "Closed form: images",
        2,
        n,
        min(DEFAULT.solved_on, n),
        key="solvedon",
        bind="query-params",
        help="Frozen nets are also solved in closed form, on the first training images, clean.",
    )
    ridge = b.number_input(
        "Closed form: ridge",
        0.0,
        1e3,
        DEFAULT.ridge,
        format="%.4g",
        key="fridge",
        bind="query-params",
        help="In units of the kernel's mean diagonal. Without one, the smallest eigenvalues decide, which no attack "
        "leaves alone.",
    )
    return images, ridge


def _freeze(epochs: int) -> tuple[int, ...]:
    label = "Freeze the kernel after epochs"
    chosen = st.multiselect(
        label,
        list(range(epochs)),
        key="freeze",
        bind="query-params",
        max_selections=6,
        placeholder="none: choose some to linearise the nets there and train on",
    )
    return tuple(sorted(chosen))


def choices(e: Evolution) -> dict[str, object]:
    """The page's controls, by their keys, for an evolution whose attacks are those of the sidebar."""
    return _of_net(e.net, e.schedule) | {
        "regimes": [REGIME_NAMES[regime] for regime in e.regimes],
        "epochs": e.epochs,
        "eseeds": e.seeds,
        "psteps": e.pgd.steps,
        "pstep": e.pgd.step_size / e.pgd.eps if e.pgd.eps else 0.25,
        "tested": e.judging,
        "judged": min(e.judged, e.data.n_train),
        "probe": e.probe,
        "every": e.every,
        "attacked": e.attacked,
        "freeze": list(e.freeze),
        "solvedon": min(e.solved_on, e.data.n_train),
        "fridge": e.ridge,
    }


def controls_of(run: RunSpec, epoch: int) -> dict[str, object]:
    """The page's controls for one run, up to an epoch at least."""
    attack = run.attack
    found = _of_net(run.net, run.schedule) | {"regimes": [REGIME_NAMES[run.regime]], "eseeds": min(5, run.seed + 1)}
    found["epochs"] = max(1, epoch)
    found["freeze"] = [] if run.linear_from is None else [run.linear_from]
    return found | ({"psteps": attack.steps, "pstep": attack.step_size / attack.eps} if run.regime == "pgd" else {})


def _of_net(net: NamedNet | TwinNet, schedule: Schedule) -> dict[str, object]:
    named_net = isinstance(net, NamedNet)
    values = {"trained": ARCHITECTURES[net.name] if named_net else TWIN}
    values |= {"init": net.init} if named_net else {"ewidth": net.width, "form": net.parameterisation}
    rest = {"elr": schedule.lr, "emomentum": schedule.momentum, "batch": schedule.batch, "loss": schedule.loss}
    return values | rest


def in_words(both: tuple[Experiment, Evolution]) -> str:
    """The images and the nets in training."""
    return f"{both[0].in_words(kernel=False)}; {both[1].in_words()}"


def histories(found: Mapping[tuple[str, int, int, str], Artifact], e: Evolution) -> Histories:
    """The epochs that are there."""
    arrays = {name: _Numbers(artifact) for name, artifact in found.items()}
    return Histories(arrays, e.epochs, e.looks(), e.regimes, e.seeds)


class _Numbers(Mapping):
    """The arrays of an artifact as numpy arrays, each read when it is asked for."""

    def __init__(self, artifact: Artifact):
        self.arrays = artifact.arrays

    def __getitem__(self, name: str):
        return self.arrays[name].numpy()

    def __iter__(self):
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)
