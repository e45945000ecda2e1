"""One test image at a time: what the attack adds, what the kernel then says, and how little it takes."""

from functools import partial

import streamlit as st

from ntkcore.analysis.readings import read_flip
from ntkcore.figures.attack import contact_sheet, margin_along_eps
from ntkcore.figures.strip import Picture, strip
from pages.ui.code import lines
from pages.ui.page import page
from pages.ui.results import need
from pages.ui.samples import said, task_of
from pages.ui.show import chart, clicked, dark, downloads, explain, pictures

KINDS = ["all", "right", "flipped", "wrong"]
PAGE = 96  # thumbnails at a time

experiment = page("Attack", "How little must one image change before the kernel is wrong?")
task, night, figures = task_of(experiment), dark(), {}
result = need(experiment.predict(), "the kernel's prediction, clean and under attack")
if result is None:
    st.stop()
a = result.arrays


def _pick() -> None:
    index = clicked(st.session_state.get("sheet"))
    if index is not None:
        st.session_state.image = index


left, right = st.columns([2, 1], vertical_alignment="bottom")
index = left.number_input("Test image", 0, task.m - 1, 0, key="image", bind="query-params")
factor = right.select_slider("Amplify the perturbation", [1, 2, 5, 10, 20, 50], 10, key="amplify", bind="query-params")

eps_max = 0.2 if experiment.attack.norm == "linf" else max(4.0, 2 * experiment.attack.eps)
flip = need(experiment.flip(index, eps_max=eps_max), "this image's margin along eps")
if flip is not None:
    f = flip.arrays
    image, x_adv = f["image"].numpy(), f["x_adv"].numpy()
    before, after = said(f["outputs"][None], task)[0], said(f["attacked"][None], task)[0]
    truth = task.classes[int(task.labels_test[index])]
    left, right = st.columns(2, gap="large")
    with left:
        row = [
            Picture(image, f"original<br>kernel: {before}"),
            Picture((x_adv - image) * factor, f"perturbation<br>x {factor}", signed=True, scale=1.0),
            Picture(x_adv, f"adversarial<br>kernel: {after}"),
        ]
        pictures(row, width=148)
        figures["Images"] = partial(strip, row, dark=night)
        norm = experiment.attack.norm
        st.markdown(
            f"True class: **{truth}**. "
            + read_flip(float(f["fgsm_flip"]), float(f["pgd_flip"]), before == truth, eps_max, norm)
        )
        if bool(f["fgsm_zero_gradient"]):
            st.warning("The gradient is exactly zero at this image: no attack was possible, which is not robustness.")
    with right:
        figures["Margin along eps"] = margin_along_eps(
            f["eps"].numpy(),
            {"fgsm": f["fgsm_margin"].numpy(), "pgd": f["pgd_margin"].numpy()},
            norm=norm,
            eps_mark=experiment.attack.eps if experiment.attack.eps <= eps_max else None,
            dark=night,
        )
        chart(figures["Margin along eps"], "margin-along-eps", key="margins")

st.subheader("All test images: click one", anchor=False)
right_before, right_after = a["right"], a["attack_right"]
status = ["wrong" if not b else "right" if c else "flipped" for b, c in zip(right_before, right_after, strict=True)]
captions = [
    f"{task.classes[int(label)]}, margin {float(m0):+.2f} to {float(m1):+.2f}"
    for label, m0, m1 in zip(task.labels_test, a["margin"], a["attack_margin"], strict=True)
]
wanted = st.segmented_control("Show", KINDS, default="all", required=True, key="show", bind="query-params")
numbers = [i for i in range(task.m) if wanted in ("all", status[i])]
if not numbers:
    st.info("None of the test images is of this kind.")
else:
    pages = -(-len(numbers) // PAGE)
    leaf = st.pagination(pages, key=f"leaf-{wanted}") if pages > 1 else 1
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
    st.caption(f"In all {task.m} test images: {tally}. Below, {len(numbers)} of them.")
    chart(sheet, "test-images", key="sheet", on_click=_pick)

explain(
    r"x'=\mathrm{clip}\big(x+\varepsilon\,\mathrm{sign}\,\nabla_x L(f(x),y),\,0,\,1\big),"
    r"\qquad \nabla_x f=\sum_j\alpha_j\,\partial K(x,x_j)/\partial x",
    experiment.predict(),
    lines(
        experiment,
        f"f = ntk.fit(k, task.x_train, task.y_train, ridge={experiment.ridge})\n"
        f"one = slice({index}, {index + 1})\n"
        "result = attack(f, task.x_test[one], task.y_test[one])\nresult.x_adv, result.attacked",
    ),
)
downloads(
    "attack", figures, {name: a[name].numpy() for name in ("outputs", "attack_outputs", "pgd_outputs", "attack_images")}
)
