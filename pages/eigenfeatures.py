"""Every eigenfeature of the kernel: how useful, how robust, what it looks like, and what is left when some are kept."""

from functools import partial

import streamlit as st

from ntkcore.analysis.classes import classify
from ntkcore.analysis.halves import halves
from ntkcore.analysis.label_test import cutoff, smallest_passing
from ntkcore.analysis.readings import percent, read_kept, read_split, read_sweep, read_tail, read_time
from ntkcore.analysis.tradeoff import KEPT
from ntkcore.figures.accuracy import along_time, kept_subsets
from ntkcore.figures.along_index import class_shares, perturbation_split, shares_along_index
from ntkcore.figures.eigenfeatures import usefulness_robustness
from ntkcore.figures.palette import FEATURES
from ntkcore.figures.strip import strip
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages import read_curves, read_null
from ntkcore.runs.stages import read_sweep as load_sweep
from pages.ui.code import eigenfeatures_lines
from pages.ui.page import page
from pages.ui.pictures import feature_rows, perturbation_row
from pages.ui.plain import plain
from pages.ui.results import latest, need
from pages.ui.samples import examples, task_of
from pages.ui.show import chart, clicked, dark, downloads, drawn_once, explain, pictures

experiment = page("Eigenfeatures", "Which features of the kernel are useful, and which of them survive an attack?")
task_of(experiment)
what = f"every feature under {experiment.attack}"
experiment = latest("eigenfeatures", experiment, lambda e: {1: e.sweep(), 2: e.spectrum()}, what, Experiment.in_words)
task, night, figures = task_of(experiment), dark(), {}
swept = need(experiment.sweep(), what)
spectral = None if swept is None else need(experiment.spectrum(), "the spectrum")
if swept is None or spectral is None:
    st.stop()
sweep = load_sweep(swept, spectral, experiment.sweep())
rule = experiment.rule
classes = classify(sweep, rule.fdr, rule.keep)
count = len(classes)


def _open_feature() -> None:
    index = clicked(st.session_state.get("scatter"))
    if index is not None:
        st.session_state.feature = index


left, right = st.columns([3, 2], gap="large")
with right:
    feature = st.number_input(
        "Feature (index from the largest eigenvalue)",
        0,
        count - 1,
        min(1, count - 1),
        key="feature",
        bind="query-params",
    )
    colour = st.segmented_control(
        "Colour by", ["index", "class"], default="index", required=True, key="colour", bind="query-params"
    )
    name = FEATURES[classes[feature]].words
    useful, robust = float(sweep.usefulness[feature]), float(sweep.robustness[feature])
    st.markdown(
        f"**Feature {feature}** ({name}): eigenvalue {float(sweep.spectrum.values[feature]):.3g}; right on "
        f"{percent(useful)} of the test images, on {percent(robust)} under attack."
    )
    st.markdown(read_sweep(sweep, classes, read_null(swept), rule.fdr))
    st.markdown(read_tail(sweep))
    stuck = float(sweep.zero_gradient.sum() / sweep.right_before.sum().clamp(min=1))
    if stuck > 0:
        st.caption(
            f"For {percent(stuck)} of the right answers the gradient is exactly zero: no attack was possible there."
        )
with left:
    figures["Usefulness and robustness"] = usefulness_robustness(
        sweep.usefulness.numpy(),
        sweep.robustness.numpy(),
        classes=classes,
        colour=colour,
        selected=feature,
        m=sweep.m,
        chance=sweep.majority,
        useful_from=smallest_passing(sweep.labels.numpy(), cutoff(sweep.p_values, rule.fdr)),
        keep=rule.keep,
        attack=str(experiment.attack),
        dark=night,
    )
    chart(figures["Usefulness and robustness"], "usefulness-robustness", key="scatter", on_click=_open_feature)

left, right = st.columns(2, gap="large")
with left:
    st.subheader("Along the index", anchor=False)
    figures["Along the index"] = shares_along_index(
        sweep.usefulness.numpy(),
        sweep.robustness.numpy(),
        m=sweep.m,
        chance=sweep.majority,
        selected=feature,
        dark=night,
    )
    chart(figures["Along the index"], "along-index", key="along-index")
with right:
    st.subheader("Classes of features along the index", anchor=False)
    figures["Classes along the index"] = drawn_once(
        f"classes {swept.key} {rule} {night}", lambda: class_shares(classes, dark=night)
    )
    chart(figures["Classes along the index"], "classes-along-index", key="class-shares")

st.subheader("What the features look at", anchor=False)
a, b, c = st.columns([2, 1, 2])
wanted = a.multiselect(
    "Features beside the chosen one",
    list(range(count)),
    default=[index for index in (0, 1, 2, 3, 20, 200) if index < count],
    key="features",
    bind="query-params",
    max_selections=7,
)
nth = b.number_input("Test image of each class", 0, max(0, task.m - 1), 0, key="nth", bind="query-params")
shown = c.multiselect(
    "Classes of images", task.classes, default=task.classes[:2], key="shown", bind="query-params", max_selections=4
)
chosen = tuple(sorted({*wanted, feature}))
of_class_image = {}
for label, index in examples(task, nth).items():
    if label in shown:
        of_class_image[label] = need(experiment.pictures(index, chosen), f"pictures of the features at a {label}")
ready = {label: artifact.arrays for label, artifact in of_class_image.items() if artifact is not None}
if not shown:
    st.caption("Choose at least one class of images to see them.")
if ready:
    rows = feature_rows(ready, chosen)
    for start in range(0, len(rows), len(chosen) + 1):
        pictures(rows[start : start + len(chosen) + 1], width=130)
    figures["Feature pictures"] = partial(strip, rows, columns=len(chosen) + 1, dark=night)
    st.caption(
        "The gradient of each feature for the true class: red pixels, made brighter, help it; blue ones hurt. "
        "Each picture has its own scale."
    )
    with st.container(horizontal=True):
        for label, index in examples(task, nth).items():
            if label in ready:
                link = {"image": str(index)}
                st.page_link(
                    "pages/attack.py", label=f"Attack this image ({plain(label)})", query_params=link, width="content"
                )
    st.subheader("One perturbation, split over the features", anchor=False)
    label, arrays = next(iter(ready.items()))
    row = perturbation_row(arrays, label)
    pictures(row)
    figures["Perturbation"] = partial(strip, row, dark=night)
    parts, of_class = arrays["contributions"].numpy(), arrays["classes"].numpy()
    figures["Perturbation over features"] = drawn_once(
        f"split {of_class_image[label].key} {night}",
        lambda: perturbation_split(parts, classes=of_class, quantity="change of the margin", dark=night),
    )
    chart(figures["Perturbation over features"], "perturbation-split", key="split")
    st.markdown(read_split(parts, of_class, *arrays["margins"].tolist(), plain(label)))

curves = need(experiment.curves(), "accuracy of kept features and along training time")
if curves is not None:
    second = ~halves(sweep.labels.numpy())
    reported = {name: judged.curve(second) for name, judged in read_curves(curves).items()}
    kept, flow = {kind: reported[kind] for kind in KEPT}, reported["time"]
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Keep only some features", anchor=False)
        k = st.number_input("Features kept, k", 1, count, min(20, count), key="k", bind="query-params")
        drawn = {kind: curve for kind, curve in kept.items() if len(curve.k)}  # a class may have no feature
        figures["Kept features"] = drawn_once(
            f"kept {curves.key} {k} {night}",
            lambda: kept_subsets(drawn, k=k, chance=sweep.majority, attack=str(experiment.attack), dark=night),
        )
        chart(figures["Kept features"], "kept-features", key="kept")
        st.markdown(read_kept(kept))
    with right:
        st.subheader("Stop training early", anchor=False)
        named = {"chance": sweep.majority, "attack": str(experiment.attack), "dark": night}
        figures["Along training time"] = drawn_once(
            f"time {curves.key} {night}", lambda: along_time(flow.k, flow.clean.mean, flow.attacked.mean, **named)
        )
        chart(figures["Along training time"], "along-time", key="time")
        st.markdown(read_time(flow))

explain(
    r"f^{(i)}(x)=\lambda_i^{-1}K(x,X)\,v_iv_i^\top Y,\qquad \sum_i f^{(i)}=f_\infty",
    experiment.sweep(),
    eigenfeatures_lines(experiment, feature, chosen, {label: examples(task, nth)[label] for label in of_class_image}),
)
downloads(
    "eigenfeatures",
    figures,
    {
        "eigenvalue": sweep.spectrum.values[:count].numpy(),
        "usefulness": sweep.usefulness.numpy(),
        "robustness": sweep.robustness.numpy(),
        "class": classes,
    },
)
