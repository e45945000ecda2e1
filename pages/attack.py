"""One test image at a time: what the attack adds, what the kernel then says, and how little it takes."""

from functools import partial

import streamlit as st

from ntkcore.analysis.attacks.balls import in_pixels
from ntkcore.data import read_picture
from ntkcore.errors import NTKError
from ntkcore.figures.attacks.attack import contact_sheet
from ntkcore.figures.drawing.strip import strip
from ntkcore.readings.kernel import read_flip
from ntkcore.readings.words import signed
from ntkcore.runs import demo
from ntkcore.runs.specs import shorten
from ntkcore.runs.stages import keep_image
from pages.ui.code import attack_lines
from pages.ui.sections.attack import (
    ITSELF,
    KERNEL,
    OF_IMAGE,
    OF_VIEWS,
    all_predictions,
    is_net,
    own_view,
    predictors,
    predictors_asked,
    three_pictures,
    view_of,
    wanted_by,
)
from pages.ui.sections.beside import Pair, beside, same_image, table
from pages.ui.sections.samples import task_of
from pages.ui.shell.links import set_controls
from pages.ui.shell.page import page
from pages.ui.shell.plain import complaint, plain
from pages.ui.shell.present import folded, presenting
from pages.ui.shell.results import latest
from pages.ui.shell.services import services
from pages.ui.shell.show import Figures, chart, dark, downloads, explain
from pages.ui.shell.terms import answer, heading, note

KINDS = ["all", "right", "flipped", "wrong"]
PAGE = 96  # thumbnails at a time

experiment = page("Attack", "How little must one image change before the prediction is wrong?")
task, night, figures = task_of(experiment), dark(), Figures()


def _pick(index: int) -> None:
    set_controls({"image": index})
    st.session_state.pop("own-image", None)


left, middle, right, factors, last = folded().columns([6, 6, 4, 5, 4], vertical_alignment="bottom")
target = left.selectbox(
    "Predictor to be fooled",
    predictors(),
    key="target",
    bind="query-params",
    help="The kernel's prediction after endless training or after some steps, or a net of that width, trained here.",
)
source = middle.selectbox(
    "Whose gradient the attack follows", [ITSELF, *predictors()], key="source", bind="query-params"
)
index = right.number_input("Test image", 0, task.m - 1, 0, key="image", bind="query-params")
factor = factors.select_slider(
    "Times stronger, as drawn", [1, 2, 5, 10, 20, 50], 10, key="amplify", bind="query-params"
)
own = upload = None
mine = last.popover("Own image", icon=":material/upload:", width="stretch")
if refused := demo.against_upload():
    mine.caption(refused)
else:
    upload = mine.file_uploader(
        "An image of your own",
        ["png", "jpg", "jpeg"],
        key="own-image",
        help="Its middle is taken in the shape of the data set's images, and brought to their size.",
    )
if upload is not None:
    label = mine.selectbox("Its true class", list(task.classes), key="own-class", persist_state="session")
    try:
        picture = read_picture(upload.getvalue(), task.image_shape)
        own = keep_image(picture.image, services().store), task.classes.index(label)
        if picture.changes:
            note(f"Your image: {picture}")
    except NTKError as error:
        st.error(complaint(error))
else:
    experiment, target, source, index = latest(
        "attack",
        (experiment, target, source, index),
        lambda choice: wanted_by(*choice),
        f"{target}, attacked through {source}",
        lambda choice: f"{choice[0].in_words()}; {choice[1]}, attacked through {choice[2]}, test image {choice[3]}",
    )
    task = task_of(experiment)
alone = target == KERNEL and source in (ITSELF, KERNEL)
if own is not None:
    views = Pair(experiment).map(lambda e: own_view(e, task, *own))
    if not alone:
        note("An image of your own is shown with the kernel attacked through itself.")
else:
    experiments = beside(experiment, lambda e: wanted_by(e, target, source, index))
    views = experiments.map(lambda e: view_of(e, task_of(e), index, source, target))
view = views.now

if view is not None:
    who = "net" if is_net(target) and own is None else "kernel"
    norm, steps = experiment.attack.norm, len(view.eps)
    left, right = st.columns([10, 3] if presenting() else [2, 1], gap="medium" if presenting() else "large")
    with left:
        stamp = f"{index} {source} {target} {own} {shorten(experiment)}"
        talk = presenting()  # where the pictures are as large as can be, and the curve stands by itself
        moving = f"{stamp} {factor} {talk}"
        views.show(figures, "Margin along eps", lambda v: v.moving(factor, night, not talk), "margins", moving)
        for name, shown in views.named():
            figures[f"Images {name}".strip()] = partial(strip, three_pictures(shown, who, factor), dark=night)
    with right:
        right_before = view.says[0] == view.truth
        (_, fgsm), (_, pgd) = view.flips.items()
        found, *how = read_flip(fgsm, pgd, right_before, float(view.eps[-1]), norm, who, steps, view.halved)
        answer(f"**True class: {plain(view.truth)}. {found}** {' '.join(how)}")
        through = str(experiment.attack).split(" ")[0] if own is not None or alone else f"FGSM through {source}"
        note(
            f"Above the pictures: what the {who} says of them, and its margin, which is positive where it is right. "
            f"They follow {through} at {steps} radii; the dashed line is the radius of the sidebar."
        )
        if view.zero_gradient:
            st.warning("The gradient is exactly zero at this image: no attack was possible, which is not robustness.")
        if views.pinned is not None:
            apart = views.pinned.attack.norm != norm
            views.show(figures, "Margins of both", lambda v: v.curves(night), "margins-of-both", stamp, apart=apart)
    if talk and views.pinned is None:
        views.show(figures, "Margins", lambda v: v.curves(night), "margins-alone", stamp)
    if own is None:
        table(experiments, views, OF_VIEWS | (OF_IMAGE if same_image(experiments) else {}))
    if own is None and not alone:
        heading("What every predictor says of this image")
        st.dataframe(
            all_predictions(experiment, task, index, source, target),
            width="stretch",
            hide_index=True,
            column_config={
                name: st.column_config.NumberColumn(format="%+.2f") for name in ("Margin", "Margin, perturbed")
            },
        )
        note(f"Perturbed by FGSM through {source}, {in_pixels(experiment.attack.eps, norm)}.")


def _explain() -> None:
    explain(
        "attack",
        r"x'=\mathrm{clip}\big(x+\varepsilon\,\mathrm{sign}\,\nabla_x L(f(x),y),\,0,\,1\big),"
        r"\qquad \nabla_x f=\sum_j\alpha_j\,\partial K(x,x_j)/\partial x",
        experiment.predict(),
        lambda: attack_lines(experiment, task, index, source, target, own, predictors_asked(experiment, target)),
    )
    downloads("attack", figures, {"image": view.image, "x_adv": view.x_adv, "eps": view.eps, **view.margins})


if view is None:
    st.stop()
if view.status is None:
    _explain()
    st.stop()
heading("All test images: click one")
status = view.status
captions = [
    f"{task.classes[int(label)]}, margin {signed(float(m0), '+.2f')} to {signed(float(m1), '+.2f')}"
    for label, m0, m1 in zip(task.labels_test, *view.all_margins, strict=True)
]
wanted = st.segmented_control("Show", KINDS, default="all", required=True, key="show", bind="query-params")
numbers = [i for i in range(task.m) if wanted in ("all", status[i])]
if not numbers:
    st.info("None of the test images is of this kind.")
else:
    pages = -(-len(numbers) // PAGE)
    leaf = st.pagination(pages, key=f"leaf-{wanted}", bind="query-params") if pages > 1 else 1
    numbers = numbers[(leaf - 1) * PAGE : leaf * PAGE]
    sheet = contact_sheet(
        task.x_test[numbers].numpy(),
        [status[i] for i in numbers],
        [captions[i] for i in numbers],
        columns=12,
        numbers=numbers,
        selected=index,
        dark=night,
    )
    tally = ", ".join(f"{status.count(kind)} {kind}" for kind in KINDS[1:])
    note(f"Of all {task.m} test images, under {experiment.attack}: {tally}. Shown: {len(numbers)}.")
    chart(sheet, "test-images", key="sheet", on_click=_pick)

_explain()
