"""The controls of the Transfer page: finite nets, the radii at which they are attacked, their training.

::

    story = story_controls(experiment)             # a Story; stops the page with a sentence when it makes none
"""

import streamlit as st

from ntkcore.analysis.attacks.autoattack import available
from ntkcore.analysis.attacks.balls import BALLS
from ntkcore.errors import NTKError
from ntkcore.readings.words import radius
from ntkcore.runs.specs import FIRST_WIDTHS, OUTSIDE, Experiment, Story, radii
from pages.ui.controls.control import Controls, Number, Several, Toggle
from pages.ui.shell.links import set_controls
from pages.ui.shell.plain import complaint

TESTED = 500  # test images at first: shares are told to 4 points or so
WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
FIRST_RADIUS = {"linf": 16.0, "l2": 2.0}


def radius_in_words(eps: float, norm: str) -> str:
    """ "eps 4/255" or "ℓ2 eps 0.5"."""
    return f"{'' if norm == 'linf' else 'ℓ2 '}eps {radius(eps, norm)}"


def _radius_changed() -> None:
    """Another largest radius: the numbers below are at half of it again."""
    norm = st.session_state.norm
    largest = st.session_state.radius / BALLS[norm].unit
    set_controls({"at": radius_in_words(radii(largest)[-2], norm)})


STORY = Controls(
    Story(),
    Several("widths", "Widths of the nets", "widths", WIDTHS, most=6, start=lambda e: list(FIRST_WIDTHS[e.net.family])),
    Number("seeds", "Seeds", "seeds", 1, 5, help="Nets of each width, each with random first weights of its own."),
    Number(
        "radius",
        lambda e: f"Largest radius, {BALLS[e.attack.norm].unit_in_words}",
        "",
        0.0,
        lambda e: 255.0 if e.attack.norm == "linf" else 100.0,
        format="%.2f",
        read=lambda story: max(story.eps) * BALLS[story.norm].unit,
        start=lambda e: FIRST_RADIUS[e.attack.norm],
        on_change=_radius_changed,
    ),
    Several(
        "beside",
        "Other networks, trained by SGD",
        "outside",
        OUTSIDE,
        help="The widest twin in standard parameterisation, and networks that have no infinite one here; by stochastic "
        "gradient descent (SGD) on cross-entropy.",
    ),
    Number(
        "lr",
        "Learning rate",
        "training.lr",
        *(0.001, 1000.0),
        format="%.3f",
        help="Of gradient descent on the squared loss of all n training images at once, in units of n / λmax, λmax the "
        "kernel's largest eigenvalue. With momentum μ it is stable below 2 (1 + μ).",
    ),
    Number("momentum", "Momentum", "training.momentum", 0.0, 0.99, 0.05),
    Number("descent", "Steps of training", "training.steps", 1, 5000),
    Number(
        "images",
        "Test images",
        "",
        1,
        lambda e: e.data.n_test,
        read=lambda story: story.kernel.data.n_test,
        start=TESTED,
        help="The first ones: every attack is made on them for every net, which is most of the time.",
    ),
    Toggle(
        "strong",
        "AutoAttack, too",
        "strong",
        disabled=lambda e: not available(),
        help="On every net: minutes. An optional extra: pip install pyautoattack.",
    ),
)


def story_controls(experiment: Experiment) -> Story:
    """Widths, seeds, radii and the nets beside them, as one validated Story."""
    chosen = STORY.row((4, 1, 2, 3), "widths", "seeds", "radius", "beside", of=experiment)
    with st.expander("How the nets are trained, and the strong attack"):
        keys = "lr", "momentum", "descent", "images", "strong"
        chosen |= STORY.row(5, *keys, of=experiment, align="bottom")
    if not chosen["widths"] and not chosen["beside"]:
        st.info("Choose at least one width, or a net to stand beside.")
        st.stop()
    norm = experiment.attack.norm
    try:
        tested = experiment.data.replace(n_test=chosen["images"])
        rest = {"kernel": experiment.replace(data=tested).ntk(), "norm": norm}
        rest |= {"eps": radii(chosen["radius"] / BALLS[norm].unit), "strong": chosen["strong"] and available()}
        return Story(**STORY.fields(chosen) | rest)
    except NTKError as error:
        st.error(complaint(error))
        st.stop()
