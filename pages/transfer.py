"""Perturbations made from the kernel alone, against networks that were trained: by radius, width, step and net."""

import streamlit as st

from ntkcore.analysis.attacks.transfer_statistics import difference_of_means
from ntkcore.readings.transfer import (
    read_beside,
    read_cosine,
    read_cover,
    read_drops,
    read_noise,
    read_recovered,
    read_white_box,
    read_zero,
)
from ntkcore.runs.specs import Story
from ntkcore.training import LAZY
from pages.ui.code import transfer_lines
from pages.ui.controls.transfer import radius_in_words, story_controls
from pages.ui.sections.attack import DESCENT, ITSELF, KERNEL, predictors
from pages.ui.sections.beside import beside, need_all_of_both, table
from pages.ui.sections.matrix import matrix
from pages.ui.sections.samples import task_of
from pages.ui.sections.transfers import (
    WHITE,
    Transfers,
    accuracies,
    compared,
    gallery,
    measures,
    percent_columns,
    statistics_of,
)
from pages.ui.shell.links import go_to
from pages.ui.shell.page import page
from pages.ui.shell.present import folded, presenting
from pages.ui.shell.results import latest
from pages.ui.shell.show import Figures, dark, downloads, explain
from pages.ui.shell.terms import answer, heading, note, say, small_print

experiment = page(
    "Transfer",
    "Do perturbations made from the kernel alone fool networks that were trained?",
    words=lambda e: e.ntk().in_words(),
)
task, night, figures = task_of(experiment), dark(), Figures()
head, controls = st.container(), folded()
with controls:
    story = story_controls(experiment)
with head:
    small_print(compared(story, experiment.data.n_test))
what = f"nets trained and attacked ({story.in_words()})"
experiment, story = latest(
    "transfer",
    (experiment, story),
    lambda both: both[1].transfers(),
    what,
    lambda both: f"{both[0].ntk().in_words()}; {both[1].in_words()}",
    one_by_one=True,
)
experiments = beside(experiment, story.about)
stories = experiments.map(story.about)
wanted = stories.now.transfers()
both = need_all_of_both(stories.map(Story.transfers), what)
found, line, alone = both.now, statistics_of(both.now), both.pinned is None
experiment, targets = experiment.replace(data=story.kernel.data), story.targets()  # on the images that are attacked
task = task_of(experiment)
if not line.groups:
    note("No net is ready yet; each one's panel appears when it is.")
    st.stop()
missing = "" if len(found) == len(wanted) else f"{len(found)} of {len(wanted)} attacks are done"
if missing:
    note(f"What follows is said of what is there: {missing}.")

choices = list(dict.fromkeys(radius_in_words(eps, story.norm) for eps in story.eps))
words = (controls if presenting() else st).select_slider(
    "Radius for the numbers below", choices, choices[-2:][0], key="at", bind="query-params", disabled=len(choices) < 2
)
at = choices.index(words)
told = both.joined(stories).map(lambda one: Transfers(*one, at, alone, night))
shows = f"{story.in_words()} {words} {alone}"  # what figures depend on besides the transfers

heading("Accuracy of the nets along the radius")
told.show(figures, "Accuracy along eps", Transfers.along_eps, key="along-eps", of=shows)
widths = [width for width in story.widths if f"width {width}" in line.groups]
for group in [f"width {width}" for width in widths[-1:]]:
    pair = [line.accuracy(group, source) for source in WHITE]
    if None not in pair:
        more = line.more(group, "white_pgd", "white_fgsm", at)
        say(read_white_box(f"{group} and {words}", *(band.one(at) for band in pair), more))
if max(story.eps) > 0:
    say(read_noise(line.noise_cost(at), words))
if not alone:
    note("Beside a pinned experiment the lines of FGSM alone are drawn; the table has the others.")
    last = line.groups[-1] if not widths else f"width {widths[-1]}"
    if all({"kernel_fgsm", "white_fgsm"} <= set(one.line.sources(last)) for one in told.both):
        table(experiments, told, measures(last, at, words), page="transfer", first=lambda one: one.points)
rows, reach = accuracies(line, at)
st.dataframe(rows, width="stretch", hide_index=True, column_config=percent_columns(line))
note(
    f"Accuracy on {task.m} test images at {words}, mean over seeds; 95 % intervals reach at most {reach} points to "
    "either side. *Worst of all*: images that stay right under every attack of the row, random noise left out."
)
cover = read_cover(line.points, line.seeds)
note(f"{cover} The bands of all figures are of the same kind. {read_zero(line.zero_share())}")

left, right = st.columns(2, gap="large")
with left:
    heading("Are wider nets closer to the kernel?")
    if widths:
        told.show(figures, "Along the width", Transfers.along_width, key="along-width", of=shows)
        answer(read_recovered(line.recovered_along(story.widths, at), words, missing))
        ends = [f"width {width}" for width in (story.widths[0], story.widths[-1])]
        drops = [[line.drop(end, source, at) for end in ends] for source in ("kernel_fgsm", "white_fgsm")]
        say(read_drops(story.widths, *drops))
        say(read_cosine(line.cosine_along(story.widths), missing))
with right:
    heading("Along training")
    if told.now.trained:
        nets = told.stamped(lambda one: " ".join(net.key for seeds in one.trained.values() for net in seeds.values()))
        nets.show(figures, "Cosine along training", Transfers.along_training, key="along-training", of=f"{alone}")
        nets.show(figures, "Training loss", Transfers.losses, key="training-loss", of=f"{alone}")
        note("The loss is that of one seed of each net.")
        last = {group: told.now.last_cosines(group) for group in told.now.cosines}
        twins = [cosines for group, cosines in last.items() if group not in story.outside]
        for group in story.outside if twins else ():
            if group in last:
                say(f"**{group}**: {read_beside(*difference_of_means(last[group], twins[-1]))}")

heading("Images that the kernel's perturbation flips: click one")
if st.session_state.get("flipped") not in targets:
    st.session_state.pop("flipped", None)
group = st.selectbox("Net", list(targets), index=len(targets) - 1, key="flipped", bind="query-params")
group = group if group in line.groups else line.groups[-1]


def _open_image(index: int) -> None:
    there = group in predictors() and story.training == LAZY  # the Attack page knows nets of the default training
    twin = {"target": group, "source": DESCENT} if there else {"target": KERNEL, "source": ITSELF}
    go_to("pages/attack.py", image=index, **twin)


gallery(figures, told, group, words, _open_image)
crossed, width = matrix(figures, experiments, stories, at, words, night)

explain(
    "transfer",
    r"x'=x+\varepsilon\,\mathrm{sign}\,\nabla_x L(f_{\mathrm{NTK}}(x),y),\qquad \text{recovered}="
    r"\frac{\mathrm{acc}(x)-\mathrm{acc}(x'_{\mathrm{NTK}})}{\mathrm{acc}(x)-\mathrm{acc}(x'_{\mathrm{white\ box}})}",
    wanted[group, 0, "kernel_fgsm"],
    lambda: transfer_lines(experiment, story, at, words, group, crossed, width),
)
downloads(
    "transfer",
    figures,
    {f"{g} {s} {source} right_after": a.arrays["right_after"].numpy() for (g, s, source), a in found.items()},
)
