"""Do the eigenfeatures agree across architectures? Kernels, eigenspaces, matched features, classes of features."""

from functools import partial

import pandas as pd
import streamlit as st

from ntkcore.analysis.consistency import name_pairs, tally
from ntkcore.analysis.readings_consistency import read_alignment, read_matched, read_overlap, read_tallies
from ntkcore.figures.consistency import (
    alignment_heatmap,
    matched_cosines,
    overlap_along_k,
    vector_overlap_heatmap,
)
from ntkcore.figures.strip import Picture, strip
from ntkcore.runs.specs import ConsistencySpec, Experiment
from ntkcore.runs.stages import read_sweep
from pages.ui.architectures import comparison_controls
from pages.ui.code import consistency_lines
from pages.ui.page import page
from pages.ui.plain import plain
from pages.ui.results import latest, need, need_all
from pages.ui.samples import task_of
from pages.ui.show import chart, dark, downloads, explain, pictures

FEATURES = tuple(range(6))  # whose pictures stand side by side

chosen = page("Consistency", "Do different architectures have the same eigenfeatures?")
experiments = comparison_controls(chosen.infinite())
task_of(next(iter(experiments.values())))


def _compared(experiments: dict[str, Experiment]) -> ConsistencySpec:
    return ConsistencySpec(sweeps=tuple(e.sweep() for e in experiments.values()))


def _in_words(experiments: dict[str, Experiment]) -> str:
    return f"{', '.join(experiments)}; {next(iter(experiments.values())).in_words(kernel=False)}"


what = f"eigenfeatures of {', '.join(experiments)}"
experiments = latest("consistency", experiments, lambda these: {"all": _compared(these)}, what, _in_words)
first = next(iter(experiments.values()))
task, night, figures = task_of(first), dark(), {}
side = "x".join(map(str, task.image_shape[1:]))
st.caption(f"Compared on {task.n} training and {task.m} test images of {side} pixels.")
names = list(experiments)
spec = _compared(experiments)
result = need(spec, what)
if result is None:
    st.stop()
a = {name: value.numpy() for name, value in result.arrays.items()}
pairs = name_pairs(names)

left, right = st.columns(2, gap="large")
with left:
    st.subheader("Whole kernels: centred alignment (CKA)", anchor=False)
    figures["Alignment"] = alignment_heatmap(names, a["alignment"], quantity="centred alignment", dark=night)
    chart(figures["Alignment"], "alignment", key="alignment")
    st.markdown(read_alignment(names, a["alignment"], centred=True))
    with st.expander("Not centred"):
        figures["Alignment, not centred"] = alignment_heatmap(names, a["alignment_uncentred"], dark=night)
        chart(figures["Alignment, not centred"], "alignment-not-centred", key="uncentred")
        st.markdown(read_alignment(names, a["alignment_uncentred"], centred=False))
with right:
    st.subheader("Leading eigenspaces", anchor=False)
    overlaps = {name: a["overlap"][i] for i, (name, _, _) in enumerate(pairs)}
    shown = dict(list(overlaps.items())[:10])
    figures["Overlap of eigenspaces"] = overlap_along_k(a["ks"], shown, n=task.n, dark=night)
    chart(figures["Overlap of eigenspaces"], "overlap", key="overlap")
    st.markdown(read_overlap(a["ks"], overlaps, task.n))

st.subheader("Classes of features", anchor=False)
need_sweeps = {name: need(e.sweep(), f"features of {name}") for name, e in experiments.items()}
spectra = {name: need(e.spectrum(), f"spectrum of {name}") for name, e in experiments.items()}
counts = {}
for name, e in experiments.items():
    if need_sweeps[name] is not None and spectra[name] is not None:
        sweep = read_sweep(need_sweeps[name], spectra[name], e.sweep())
        counts[name] = tally(sweep, e.rule.fdr, e.rule.keep)
table = pd.DataFrame(
    {
        "Architecture": list(counts),
        "Robust": [c.robust for c in counts.values()],
        "In between": [c.between for c in counts.values()],
        "Brittle": [c.brittle for c in counts.values()],
        "Weak alone": [c.weak for c in counts.values()],
        "Robust among the top 20": [c.top_robust for c in counts.values()],
        "Spearman of index and share kept": [c.spearman.mean[0] for c in counts.values()],
    }
)
st.dataframe(
    table,
    hide_index=True,
    width="stretch",
    column_config={"Spearman of index and share kept": st.column_config.NumberColumn(format="%+.2f")},
)
if counts:
    st.markdown(read_tallies(counts))

st.subheader("One pair, feature by feature", anchor=False)
pair = st.selectbox("Pair", [name for name, _, _ in pairs], key="pair", bind="query-params")
number = [name for name, _, _ in pairs].index(pair)
_, one, two = pairs[number]
left, right = st.columns(2, gap="large")
with left:
    figures["Eigenvectors of a pair"] = vector_overlap_heatmap(a["vectors"][number], names[one], names[two], dark=night)
    chart(figures["Eigenvectors of a pair"], "eigenvectors-of-a-pair", key="pair-vectors")
with right:
    partner, cosines = a["partner"], a["cosine"]
    top = list(range(len(partner[number])))
    drawn = {name: cosines[i] for i, (name, _, _) in enumerate(pairs)}
    figures["Gradients of matched features"] = matched_cosines(top, {pair: drawn[pair]}, dark=night)
    chart(figures["Gradients of matched features"], "matched-gradients", key="matched")
    overlap = a["vectors"][number][top, partner[number]]
    st.markdown(read_matched(names[one], names[two], partner[number], overlap, cosines[number]))

st.subheader("The same image through each architecture's leading features", anchor=False)
index = st.number_input("Test image", 0, task.m - 1, 0, key="of-image", bind="query-params")
features = tuple(i for i in FEATURES if i < len(top))
wanted = {name: e.pictures(index, features) for name, e in experiments.items()}
found = need_all(wanted, "pictures of the leading features")
rows = []
for name, artifact in found.items():
    row = [Picture(artifact.arrays["image"].numpy(), name)]
    row += [
        Picture(picture.numpy(), f"feature {i}", signed=True)
        for i, picture in zip(features, artifact.arrays["pictures"], strict=True)
    ]
    pictures(row, width=120)
    rows += row
if rows:
    figures["Leading features"] = partial(strip, rows, columns=len(features) + 1, dark=night)
    label = plain(task.classes[int(task.labels_test[index])])
    st.caption(
        f"Test image {index}, a {label}: the gradient of each feature for the true class, each on its own scale. Red "
        "pixels, made brighter, help it; blue ones hurt."
    )

explain(
    r"\mathrm{CKA}=\frac{\langle HAH,HBH\rangle}{\|HAH\|\,\|HBH\|},\qquad "
    r"\text{overlap}_k=\tfrac1k\,\|V_{A,k}^\top V_{B,k}\|_F^2",
    spec,
    consistency_lines(experiments, names[one], names[two]),
)
downloads("consistency", figures, a)
