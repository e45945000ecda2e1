"""Every eigenfeature of the kernel: how useful, how robust, what it looks like, and what is left when some are kept."""

import streamlit as st

from ntkcore.runs.specs import Experiment
from pages.ui.code import eigenfeatures_lines
from pages.ui.sections.beside import beside, need_both
from pages.ui.sections.eigenfeatures import features_of
from pages.ui.sections.samples import examples, task_of
from pages.ui.shell.page import page
from pages.ui.shell.plain import plain
from pages.ui.shell.results import latest
from pages.ui.shell.show import downloads, explain
from pages.ui.shell.terms import heading, note

experiment = page("Eigenfeatures", "Which features of the kernel are useful, and which of them survive an attack?")
task_of(experiment)
which = "every feature" if experiment.eigenpairs is None else f"the {experiment.eigenpairs} leading features"
what = f"{which} under {experiment.attack}"
experiment = latest("eigenfeatures", experiment, lambda e: {1: e.sweep(), 2: e.spectrum()}, what, Experiment.in_words)
task = task_of(experiment)
both = beside(experiment)
view = features_of(both, what)
if view is None:
    st.stop()
count = view.now.count

with st.container(key="answer"):
    left, right = st.columns([3, 2], gap="large")
with left:
    curves = need_both(both, Experiment.curves, "bands of features, kept features and training time")
    if curves is not None:
        view.bands()
with right:
    view.verdict()
view.compare(both)

heading("One by one")
left, right = st.columns([3, 2], gap="large")
with right:
    feature = st.number_input(
        "Feature, by its index (0: largest eigenvalue)",
        0,
        count - 1,
        min(1, count - 1),
        key="feature",
        bind="query-params",
    )
    colour = st.segmented_control(
        "Colour by", ["index", "class"], default="class", required=True, key="colour", bind="query-params"
    )
    view.one_feature(feature)
with left:
    view.scatter(feature, colour)

heading("Along the index")
left, right = st.columns([3, 2], gap="large")
with left:
    view.along_index(feature)
with right:
    view.along_index_in_words()

left, right = st.columns(2, gap="large")
with left:
    heading("Usefulness, and what chance alone would give")
    view.over_null()
with right:
    heading("Classes of features along the index")
    view.class_shares()

heading("What the features look at")
a, b, c = st.columns([2, 1, 2])
wanted = a.multiselect(
    "Features beside the chosen one",
    list(range(count)),
    default=[index for index in (0, 1, 2, 3, 20, 200) if index < count],
    key="features",
    bind="query-params",
    max_selections=7,
)
nth = b.number_input("Which image of each class", 0, max(0, task.m - 1), 0, key="nth", bind="query-params")
shown = c.multiselect(
    "Classes of images", task.classes, default=task.classes[:2], key="shown", bind="query-params", max_selections=4
)
chosen, at = tuple(sorted({*wanted, feature})), examples(task, nth)
at = {label: index for label, index in at.items() if label in shown}
ready = view.pictures_at(nth, shown, chosen)
if not shown:
    note("Choose at least one class of images to see them.")
if ready.now:
    view.feature_pictures(ready, chosen)
    with st.container(horizontal=True):
        for label in ready.now:
            link = {"image": str(at[label])}
            words = f"Attack this image ({plain(label)})"
            st.page_link("pages/attack.py", label=words, query_params=link, width="content")
    heading("One perturbation, split over the features")
    view.perturbation(ready)

if curves is not None:
    left, right = st.columns(2, gap="large")
    with left:
        heading("Keep only some features")
        k = st.number_input("Features kept, k", 1, count, min(20, count), key="k", bind="query-params")
        view.kept_features(k)
    with right:
        heading("Stop training early")
        view.training_time()

explain(
    "eigenfeatures",
    r"f^{(i)}(x)=\lambda_i^{-1}K(x,X)\,v_iv_i^\top Y,\qquad \sum_i f^{(i)}=f_\infty",
    experiment.sweep(),
    lambda: eigenfeatures_lines(experiment, feature, chosen, at),
)
downloads("eigenfeatures", view.figures, view.now.columns(), table="Features")
