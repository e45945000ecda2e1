"""The controls of the Evolution page: nets in training, their attacks, and when their kernel is looked at.

::

    e = evolution_controls(experiment)                    # an Evolution; stops the page with a sentence otherwise
    EVOLUTION.values(e), controls_of_run(run, epoch=10)   # what the controls show of it, and of one run
"""

import streamlit as st

from ntkcore.analysis.attacks.attack import fgsm, pgd
from ntkcore.architectures import ARCHITECTURES
from ntkcore.errors import NTKError
from ntkcore.runs.specs import REGIME_NAMES, Evolution, Experiment, NamedNet, RunSpec, TwinNet, step_share
from pages.ui.controls.control import Choice, Controls, Number, Several, Toggle
from pages.ui.shell.plain import complaint

TWIN = "twin of the sidebar's net"
NETS = {**{words: name for name, words in ARCHITECTURES.items()}, TWIN: ""}
SEEDS = "Of first weights and order of batches. Trainings are compared seed by seed; fewer than three cannot tell."


EVOLUTION = Controls(
    Evolution(),
    Choice("trained", "Network", "", NETS, read=lambda e: getattr(e.net, "name", "")),
    Several(
        "regimes",
        "Trained on",
        "regimes",
        {words: regime for regime, words in REGIME_NAMES.items()},
        help="Clean images (standard), or what FGSM or PGD makes of each batch with the net as it is then. The radius "
        "is the sidebar's.",
    ),
    Number("epochs", "Epochs", "epochs", 1, 10_000, help="Passes through all training images."),
    Number("eseeds", "Seeds", "seeds", 1, 5, help=SEEDS),
    Number("ewidth", "Width", "net.width", 1, 8192, start=256, help="Units, or channels, of each hidden layer."),
    Choice("form", "Parameterisation", "net.parameterisation", ["standard", "ntk"], start="standard"),
    Choice(
        "init",
        "First weights",
        "net.init",
        ["he", "torch"],
        help="Drawn at random as in He et al. 2015, or those that PyTorch's layers begin with.",
    ),
    Number("elr", "Learning rate", "schedule.lr", 1e-6, 1e6, format="%.4g"),
    Number("emomentum", "Momentum", "schedule.momentum", 0.0, 0.999, 0.1, help="0: none."),
    Number("batch", "Images a step", "schedule.batch", 1, 10_000, help="The size of a batch."),
    Choice("loss", "Loss", "schedule.loss", ["cross_entropy", "squared"]),
    Number("psteps", "Steps of PGD", "", 1, 200, read=lambda e: e.pgd.steps),
    Number(
        "pstep", "Step of PGD, share of the radius", "", 0.001, 10.0, 0.05, "%.3f", read=lambda e: step_share(e.pgd)
    ),
    Number(
        "tested",
        "Test images judged",
        "tested",
        1,
        lambda e: e.data.n_test,
        read=lambda e: e.judging,
        help="The first ones, after every epoch, clean and under both attacks: most of the time goes there.",
    ),
    Number(
        "judged",
        "Training images judged",
        "judged",
        1,
        lambda e: e.data.n_train,
        read=lambda e: min(e.judged, e.data.n_train),
    ),
    Number(
        "probe",
        "Probe images",
        "probe",
        2,
        lambda e: e.data.n_train,
        help="How many, the first ones of the training images.",
    ),
    Number("every", "Epochs from one kernel to the next", "every", 1, 1000),
    Toggle(
        "attacked",
        "Attack the probe images",
        "attacked",
        help="Every checkpoint sees the probe images as FGSM through itself perturbs them.",
    ),
    Number(
        "solvedon",
        "Solved exactly: on images",
        "solved_on",
        2,
        lambda e: min(e.data.n_train, 20_000),
        read=lambda e: min(e.solved_on, e.data.n_train),
        help="Frozen nets are also solved in closed form, without steps, on the first training images, clean.",
    ),
    Number(
        "fridge",
        "Solved exactly: with a ridge",
        "ridge",
        *(0.0, 1e3),
        format="%.4g",
        help="In units of the kernel's mean diagonal. Without one, the smallest eigenvalues decide, which no attack "
        "leaves alone.",
    ),
    Several(
        "freeze",
        "Freeze the kernel after epochs",
        "freeze",
        range,
        most=6,
        placeholder="none: choose some to linearise the nets there and train on",
    ),
)


def evolution_controls(experiment: Experiment) -> Evolution:
    """Net, regimes, epochs, seeds, training and probe set, as one validated Evolution."""
    chosen = EVOLUTION.row((3, 3, 1, 1), "trained", "regimes", "epochs", "eseeds")
    name = chosen["trained"]
    with st.expander("Training, attacks and probe set"):
        chosen |= EVOLUTION.row(2, "init") if name else EVOLUTION.row(2, "ewidth", "form")
        chosen |= EVOLUTION.row(4, "elr", "emomentum", "batch", "loss")
        chosen |= EVOLUTION.row(4, "psteps", "pstep", "tested", "judged", of=experiment)
        chosen |= EVOLUTION.row(4, "probe", "every", "attacked", of=experiment, align="bottom")
        chosen |= EVOLUTION.row((1, 1, 2), "solvedon", "fridge", of=experiment)
    chosen |= EVOLUTION.draw("freeze", of=chosen["epochs"])
    fields, eps, norm = EVOLUTION.fields(chosen), experiment.attack.eps, experiment.attack.norm
    try:
        if not chosen["regimes"]:
            raise NTKError("Choose at least one kind of training: standard, FGSM or PGD.")
        net = NamedNet(name=name, **fields["net"]) if name else TwinNet(net=experiment.net, **fields["net"])
        fields |= {"data": experiment.data, "inputs": experiment.inputs, "net": net, "fgsm": fgsm(eps, norm)}
        fields["pgd"] = pgd(eps, chosen["psteps"], chosen["pstep"] * eps, norm=norm)
        return Evolution(**fields | {"freeze": tuple(sorted(chosen["freeze"]))})
    except NTKError as error:
        st.error(complaint(error))
        st.stop()


def controls_of_run(run: RunSpec, epoch: int) -> dict[str, object]:
    """The page's controls for one run, up to an epoch at least."""
    of_net = "trained", "init", "ewidth", "form", "elr", "emomentum", "batch", "loss"
    found = EVOLUTION.values(run, *of_net) | {"epochs": max(1, epoch), "eseeds": min(5, run.seed + 1)}
    found |= {"regimes": [REGIME_NAMES[run.regime]], "freeze": [] if run.linear_from is None else [run.linear_from]}
    return found | ({"psteps": run.attack.steps, "pstep": step_share(run.attack)} if run.regime == "pgd" else {})
