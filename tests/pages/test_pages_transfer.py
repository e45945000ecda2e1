"""Transfer and Consistency: sentences that agree with the store, wrong inputs, a story half told, code that runs."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats
from streamlit.testing.v1 import AppTest

from ntkcore.data import DataSpec, load
from ntkcore.figures.drawing.palette import SOURCES
from ntkcore.runs import consent
from ntkcore.runs.comparison import with_net
from ntkcore.runs.presets import PRESETS
from ntkcore.runs.specs import TWIN_PLAIN, ConsistencySpec, Experiment, PerturbSpec, Story, TransferSpec
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store
from ntkcore.training import LAZY
from pages.ui.shell.services import services
from visits import CHARTS, charts, complaints, number, run_until_ready, select, small, stored, text, working

Open = Callable[..., AppTest]
TWO_SEEDS = {"seeds": "2"}
RATE = LAZY.replace(lr=0.05)  # what the fixture's link says
OTHERS = ["cnn-small", TWIN_PLAIN]


def story_of(at: AppTest, widths: Sequence[int] = (8, 16), seeds: int = 2, outside: Sequence[str] = ()) -> Story:
    """The story that the page's controls describe."""
    kernel = at.session_state.experiment.ntk()
    return Story(kernel=kernel, widths=tuple(widths), seeds=seeds, training=RATE, outside=tuple(outside))


class Told:
    """The transfers of a story in the store, averaged without ``ntkcore.analysis``."""

    def __init__(self, story: Story):
        self.found = {
            name: {key: value.numpy() for key, value in stored(spec).arrays.items()}
            for name, spec in story.transfers().items()
        }

    def stack(self, group: str, source: str, array: str) -> np.ndarray:
        """An array of every seed of a group, one after the other: [S, ...]."""
        keys = sorted(key for key in self.found if key[0] == group and key[2] == source)
        return np.stack([self.found[key][array] for key in keys])

    def clean(self, group: str, source: str = "noise") -> float:
        return float(self.stack(group, source, "right_before").mean())

    def accuracy(self, group: str, source: str) -> np.ndarray:
        return self.stack(group, source, "right_after").mean((0, 2))

    def recovered(self, group: str, at: int, source: str = "kernel_fgsm") -> float:
        white = self.clean(group) - self.accuracy(group, "white_fgsm")[at]
        return float((self.clean(group) - self.accuracy(group, source)[at]) / white)

    def cosine(self, group: str) -> float:
        return float(np.nanmean(self.stack(group, "kernel_fgsm", "cosine")))


def alt(at: AppTest, key: str) -> str:
    """The alt text of the figure with this key."""
    (chart,) = (chart for chart in at.get("plotly_chart") if chart.proto.id.endswith(f"-{key}"))
    return chart.proto.alt


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 3, 4])
def test_transfer_numbers(radius: int, opened: Open) -> None:
    """At the radius of the slider: recovered share, white box, flips; the cosine, which has no radius."""
    at = opened("transfer", TWO_SEEDS | {"at": f"eps {2**radius}/255"})
    told, words = Told(story_of(at)), text(at)
    assert f"At width 16 and eps {2**radius}/255" in words
    share = told.recovered("width 16", radius)
    takes = r"At the largest width, 16, FGSM on the kernel takes (-?\d+\.?\d*|no) "
    said = re.search(takes, words)[1]
    assert (said == "no" and share <= 0) or float(said) == pytest.approx(100 * share, abs=0.06)
    left = {source: told.accuracy("width 16", f"white_{source}")[radius] for source in ("fgsm", "pgd")}
    assert number(r"white-box FGSM leaves (\d+\.?\d*) % \[", words) == pytest.approx(100 * left["fgsm"], abs=0.06)
    told_pgd = number(r"white-box PGD of the same radius (\d+\.?\d*) %", words)
    assert told_pgd == pytest.approx(100 * left["pgd"], abs=0.06)
    takes = told.clean("width 16") - told.accuracy("width 16", "kernel_fgsm")[radius]
    said = number(r"In accuracy, FGSM on the kernel takes .* and (-?\d+\.?\d*) points? \[[^]]*\] at width 16", words)
    assert said == pytest.approx(100 * takes, abs=0.06)
    for width in (8, 16):
        cosine = number(rf"(-?\d\.\d\d) \[[^]]*\] at width {width}", words)
        assert cosine == pytest.approx(told.cosine(f"width {width}"), abs=0.006)
    first = told.found["width 16", 0, "kernel_fgsm"]
    flips = int((first["right_before"] & ~first["right_after"][radius]).sum())
    assert number(r"(\d+) of 20 test images flip", words) == flips


@pytest.mark.parametrize("radius", [1, 4])
def test_one_radius_everywhere(radius: int, opened: Open) -> None:
    """The one that is chosen: in every sentence, in the figure's alt text, in the noise's cost, and no other."""
    at = opened("transfer", TWO_SEEDS | {"at": f"eps {2**radius}/255"})
    told, words = Told(story_of(at)), "\n".join([text(at), *(alt(at, name) for name in charts(at))])
    assert set(re.findall(r"(\S+)/255", re.sub(r"5 radii up to 16/255", "", words))) == {str(2**radius)}
    costs = [told.clean(group) - told.accuracy(group, "noise")[radius] for group in ("width 8", "width 16")]
    said = number(r"Random signs of eps \d+/255 cost .*?(?:hit hardest|hardest hit:) (-?\d+\.?\d*) point", words)
    assert said == pytest.approx(100 * max(costs), abs=0.06)


def test_as_many_test_images_as_are_chosen(opened: Open) -> None:
    """The first ones of the sidebar's, in the numbers, in the words and on the Attack page."""
    at = opened("transfer", {"images": "7"})
    story, every = story_of(at, seeds=1), at.session_state.experiment.data
    few = every.replace(n_test=7)
    told = Told(story.replace(kernel=story.kernel.replace(data=few)))
    table = at.main.dataframe[0].value.set_index("Net")
    assert table.loc["width 16", "clean"] == pytest.approx(told.clean("width 16"))
    assert "Accuracy on 7 test images at eps 8/255" in text(at)
    assert "over the 7 test images" in text(at)
    assert "Attacks are made on the first 7 of these 20 test images." in text(at)
    select(at, "gallery", points=[{"customdata": [6], "point_index": 6, "curve_number": 0}])
    assert at.session_state.experiment.data == every
    assert at.number_input(key="image").value == 6
    assert load(few).x_test.equal(load(every).x_test[:7])


def test_alt_text_of_the_panels(opened: Open) -> None:
    at = opened("transfer", TWO_SEEDS)
    told, words = Told(story_of(at)), alt(at, "along-eps")
    assert "2 of 2 panels computed; width 16 at ε = 8/255" in words
    assert "width 16, seed 0: " in alt(at, "training-loss")
    for source in story_of(at).sources():
        said = number(rf"{SOURCES[source].words} (\d+\.?\d*) %", words)
        assert said == pytest.approx(100 * told.accuracy("width 16", source)[3], abs=0.06), source


def test_what_the_intervals_are_over(opened: Open) -> None:
    assert "over the 20 test images and the 2 seeds of each net" in text(opened("transfer", TWO_SEEDS))
    assert "over the 20 test images. Of one seed of each net" in text(opened("transfer"))


def test_which_kernel_and_which_images(opened: Open) -> None:
    """Below the head: the steps after which the kernel predicts are the nets' own."""
    at = opened("transfer", {"descent": "3"})
    assert at.main.caption[1].value == (
        "The kernel is the infinite net's tangent kernel, without ridge; its prediction is the one after 3 steps of "
        "training, as many as the nets of each width take. Attacks are made on all 20 test images."
    )


def test_table_of_accuracies(opened: Open) -> None:
    """A row a net, a column a source; worst of all: what no attack turns wrong, seed by seed."""
    at = opened("transfer", TWO_SEEDS)
    told, sources = Told(story_of(at)), story_of(at).sources()
    table = at.main.dataframe[0].value.set_index("Net")
    assert list(table.index) == ["width 8", "width 16"]
    for group, row in table.iterrows():
        assert row["clean"] == pytest.approx(told.clean(group))
        for source in sources:
            assert row[SOURCES[source].words] == pytest.approx(told.accuracy(group, source)[3]), source
        attacks = [told.stack(group, source, "right_after")[:, 3] for source in sources if source != "noise"]
        assert row["worst of all"] == pytest.approx(np.logical_and.reduce(attacks).mean())


def test_nets_beside_the_twins(opened: Open) -> None:
    """How far each is from the kernel at the end of its training, beside the widest twin."""
    at = opened("transfer", {"beside": OTHERS})
    assert charts(at) == CHARTS["transfer"]
    story = story_of(at, seeds=1, outside=OTHERS)
    last = {group: float(np.nanmean(stored(nets[0]).arrays["cosine"][-1])) for group, nets in story.targets().items()}
    for name in OTHERS:
        (words,) = (one.value for one in at.main.markdown if one.value.startswith(f"**{name}**"))
        other = number(r"its loss gradients have cosine (-?\d\.\d\d) ", words)
        twin = number(r"those of the widest twin (-?\d\.\d\d) ", words)
        assert (twin, other) == pytest.approx((last["width 16"], last[name]), abs=0.006)
    assert "4 of 4 panels computed" in alt(at, "along-eps")


def test_only_nets_that_are_no_twins(opened: Open) -> None:
    """No twin, no width: what is drawn along the width is left out."""
    at = opened("transfer", {"widths": "", "beside": "cnn-small"})
    assert charts(at) == [name for name in CHARTS["transfer"] if name != "along-width"]
    assert complaints(at) == []
    assert "cnn-small, seed 0, FGSM on the kernel" in text(at)


def test_across_architectures(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix: each kernel against each net, as a share of what the net's own FGSM takes."""
    at = opened("transfer", {"architectures": ["FC(1)", "FC(3)"], "lr": "1"})
    experiment = at.session_state.experiment
    nets = {name: with_net(experiment, name).twin(128) for name in ("FC(1)", "FC(3)")}
    shares = {}
    for target, net in nets.items():
        models = {name: with_net(experiment, name).kernel_model(LAZY.descent) for name in nets} | {"own": net}
        perturbed = {name: PerturbSpec(source=model, eps=(8 / 255,)) for name, model in models.items()}
        seen = {name: stored(TransferSpec(perturb=one, target=net)).arrays for name, one in perturbed.items()}
        lost = {
            name: float(a["right_before"].double().mean() - a["right_after"][0].double().mean())
            for name, a in seen.items()
        }
        assert lost["own"] > 0
        shares |= {(name, target): lost[name] / lost["own"] for name in nets}
    words = alt(at, "across")
    assert "4 of 4 cells filled" in words
    for extreme, share in (("highest", max(shares.values())), ("lowest", min(shares.values()))):
        assert number(rf"{extreme} (-?\d+\.?\d*) %", words) == pytest.approx(100 * share, abs=0.06)
    assert "of width 128" in text(at)
    monkeypatch.setattr(consent, "AUTOMATIC", 0.0)
    at.multiselect(key="architectures").set_value(["FC(1)", "FC(3)", "FC(5)"]).run()
    assert "4 of 9 cells filled" in alt(at, "across")


def test_consistency_numbers(opened: Open) -> None:
    """Alignment, shared space, matched features and counts, from the stored kernels by other means."""
    at = opened("consistency")
    experiments = small(at, "FC(1)", "Conv(2)", test=10)
    kernels = [stored(e.kernel()).arrays["K"].numpy() for e in experiments]
    n, words = len(kernels[0]), text(at)
    centre = np.eye(n) - 1 / n
    one, two = (centre @ K @ centre for K in kernels)
    alignment = (one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum())
    assert number(r"centred alignment of FC\(1\) and Conv\(2\) is (\d\.\d+) \[", words) == pytest.approx(
        alignment, abs=0.006
    )
    one, two = (np.linalg.eigh(K)[1][:, ::-1][:, :20] for K in kernels)
    overlap = np.abs(one.T @ two)
    shared = 100 * (overlap**2).sum() / 20
    assert number(r"share (\d+\.?\d*) % \[.*\] of the space of their 20 leading", words) == pytest.approx(
        shared, abs=0.06
    )
    assert number(r"it is (\d+\.?\d*) % \[.*\], by chance", words) == pytest.approx(shared, abs=0.06)
    assert number(r"at k = 20: (\d+\.\d)%", alt(at, "overlap")) == pytest.approx(shared, abs=0.06)
    arrays = stored(ConsistencySpec(kernels=tuple(e.kernel() for e in experiments))).arrays
    partner = arrays["partner"][0].numpy()
    assert sorted(partner) == list(range(20))
    same = int((partner == np.arange(20)).sum())
    assert number(r"features of FC\(1\), (\d+) have their partner at the same index", words) == same
    mean = overlap[np.arange(20), partner].mean()
    assert number(r"on average it is (\d\.\d\d)", words) == pytest.approx(mean, abs=0.006)
    close = overlap[np.arange(20), partner] >= 0.5
    one, two = (stored(e.gradients()).arrays["gradients"].double().flatten(2).numpy() for e in experiments)
    two = two[partner] * np.sign(arrays["product"][0].numpy())[:, None, None]
    cosines = (one * two).sum(2) / np.linalg.norm(one, axis=2) / np.linalg.norm(two, axis=2)
    cosine = cosines[close].mean()
    assert number(r"gradients goes from ([+-]\d\.\d\d) \(", words) == pytest.approx(cosines.mean(1).min(), abs=0.006)
    assert number(r"test images is ([+-]\d\.\d\d) \[", words) == pytest.approx(cosine, abs=0.006)
    assert number(r"input gradients ([+-]\d\.\d\d) where", alt(at, "matched")) == pytest.approx(cosine, abs=0.006)


def test_consistency_table(opened: Open) -> None:
    """The classes of features by their definition, from the stored verdicts."""
    at = opened("consistency", {"compared": ["FC(3)", "Conv(2)"]})
    table = at.dataframe[0].value.set_index("Architecture")
    for name, experiment in zip(table.index, small(at, "FC(3)", "Conv(2)"), strict=True):
        a, row = {name: value.numpy() for name, value in stored(experiment.sweep()).arrays.items()}, table.loc[name]
        useful = stats.false_discovery_control(a["p_values"]) <= 0.05
        kept = a["right_after"].sum(0) / np.maximum(1, a["right_before"].sum(0))
        kinds = {"Robust": kept >= 0.5, "In between": (kept > 0.05) & (kept < 0.5), "Brittle": kept <= 0.05}
        assert row[list(kinds)].tolist() == [(useful & kind).sum() for kind in kinds.values()]
        assert row["Weak alone"] == (~useful).sum()
        assert row["Robust among the top 20"] == (useful & kinds["Robust"])[:20].sum()
    assert list(table.index) == ["FC(3)", "Conv(2)"]


def test_features_that_take_long_to_attack_are_left_out(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every sweep that is not in the store does; all that needs none stays."""
    opened("consistency")
    monkeypatch.setattr(consent, "LONG", 1e-6)
    at = opened("consistency", {"eps": "3"})
    assert charts(at) == CHARTS["consistency"]
    assert "Not attacked, since it would take long or much memory. FC(1): About" in text(at)
    assert len(at.dataframe[0].value) == 0
    assert not [button.label for button in at.main.button if button.label == "Run"]


# -- what is asked for and cannot be had -------------------------------------------------------------------------------

WRONG = {
    "no-width": ("transfer", {"widths": ""}, "Choose at least one width"),
    "rate-beyond-the-kernel": ("transfer", {"lr": "100"}, "a learning rate of 100 n/λmax diverges"),
    "one-architecture": ("consistency", {"compared": "FC(1)"}, "Choose two to five architectures"),
    "no-architecture": ("consistency", {"compared": ""}, "Choose two to five architectures"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(case: str, opened: Open) -> None:
    """One sentence in place of the figures; the page itself and the others go on."""
    page, query, sentence = WRONG[case]
    at = opened(page, query)
    said = [element.value for element in (*at.main.info, *at.main.error)]
    assert len(said) == 1
    assert sentence in said[0]
    assert "Traceback" not in said[0]
    assert charts(at) == []
    assert charts(opened("attack", {name: value for name, value in query.items() if name != "at"})) == CHARTS["attack"]


def test_a_rate_that_diverges_is_mended_by_a_smaller_one(opened: Open) -> None:
    at = opened("transfer", {"lr": "100", "draw": "51"})
    assert charts(at) == []
    at.number_input(key="lr").set_value(0.05).run()
    run_until_ready(at)
    assert complaints(at) == []
    assert charts(at) == CHARTS["transfer"]


def test_radius_0_takes_nothing(opened: Open) -> None:
    at = opened("transfer", {"radius": "0"})
    assert charts(at) == CHARTS["transfer"]
    assert complaints(at) == []
    assert "White-box FGSM takes no accuracy at eps 0/255, so there is no share" in text(at)
    assert number(r"(\d+) of 20 test images flip", text(at)) == 0


def test_a_link_to_a_radius(opened: Open) -> None:
    """What the slider puts into the address is what it takes, without a notice."""
    options = opened("transfer").select_slider(key="at").options
    assert options == [f"eps {radius}/255" for radius in (1, 2, 4, 8, 16)]
    at = opened("transfer", {"at": options[1]})
    assert "At width 16 and eps 2/255" in text(at)
    assert complaints(at) == []


def test_another_radius_brings_its_numbers(opened: Open) -> None:
    """The slider begins anew: a radius that it kept would be missing in the address."""
    at = opened("transfer")
    at.number_input(key="radius").set_value(8.0).run()
    run_until_ready(at)
    assert "At width 16 and eps 4/255" in text(at)


def test_another_ball_brings_its_radius(opened: Open) -> None:
    """16/255 is a radius, 16 in the norm of all pixels is none."""
    at = opened("transfer", {"radius": "8", "at": "eps 2/255"})
    at.selectbox(key="norm").set_value("l2").run()
    run_until_ready(at)
    assert at.number_input(key="radius").value == 2
    assert "At width 16 and ℓ2 eps 1, white-box" in text(at)
    at.selectbox(key="norm").set_value("linf").run()
    run_until_ready(at)
    assert at.number_input(key="radius").value == 16
    assert "At width 16 and eps 8/255, white-box" in text(at)


@pytest.mark.parametrize(("family", "widths"), [("Conv", [8, 32, 128]), ("Myrtle", [8, 16, 32])])
def test_another_architecture_brings_its_widths(family: str, widths: list[int], opened: Open) -> None:
    """A width that is little for FC is days for a convolution."""
    at = opened("transfer", {"widths": ["512", "8192"], "size": "7"}, wait=False)
    at.segmented_control(key="net").set_value(family).run()
    assert at.multiselect(key="widths").value == widths
    at.segmented_control(key="net").set_value("FC").run()
    assert at.multiselect(key="widths").value == [32, 128, 512, 2048]


# -- a story half told -------------------------------------------------------------------------------------------------

PARTS = {
    "one-width": lambda group, seed, source: group == "width 8",
    "one-seed-of-two": lambda group, seed, source: seed == 0,
    "noise-only": lambda group, seed, source: source == "noise",
    "white-box-only": lambda group, seed, source: source.startswith("white"),
    "kernel-only": lambda group, seed, source: source == "kernel_fgsm",
    "one-transfer": lambda group, seed, source: (group, seed, source) == ("width 16", 1, "other_seed"),
}


@pytest.mark.parametrize("part", PARTS)
def test_part_of_a_story(part: str, opened: Open) -> None:
    """The page draws what there is and offers the rest."""
    draw = 60 + list(PARTS).index(part)
    experiment = Experiment(data=DataSpec(n_train=60, n_test=20, seed=draw))
    story = Story(kernel=experiment.ntk(), widths=(8, 16), seeds=2, training=RATE)
    there = {key: spec for key, spec in story.transfers().items() if PARTS[part](*key)}
    for spec in there.values():
        result(spec, Store())
    at = opened("transfer", TWO_SEEDS | {"draw": str(draw)}, wait=False)
    assert not at.exception
    assert complaints(at) == []
    assert [button.label for button in at.main.button if button.label in ("Run", "Cancel")] == ["Run"]
    groups = list(dict.fromkeys(group for group, _, _ in there))
    words = alt(at, "along-eps")
    assert f"{len(groups)} of 2 panels computed" in words
    assert f"{len(there)} of {len(story.transfers())} attacks are done" in text(at)
    if part in ("noise-only", "white-box-only"):
        assert "What the kernel's FGSM takes at eps 8/255 is not known yet" in text(at)
        assert "takes no accuracy" not in text(at)
    shown = {source for group, _, source in there if group == groups[-1]}
    for source in story.sources():
        said = re.search(rf"{SOURCES[source].words} (\d+\.?\d*) %", words)
        assert bool(said) == (source in shown), source
        if said:
            right = [stored(there[key]).arrays["right_after"][3] for key in there if key[::2] == (groups[-1], source)]
            share = float(np.mean([float(one.double().mean()) for one in right]))
            assert float(said[1]) == pytest.approx(100 * share, abs=0.06)
    assert ("gallery" in charts(at)) == ("kernel_fgsm" in shown and min(key[1] for key in there) == 0)


def test_the_rest_of_a_story(opened: Open) -> None:
    """What a smaller story has computed is there at once; the larger one adds to it."""
    opened("transfer", {"draw": "70", "widths": "8"})
    at = opened("transfer", {"draw": "70"}, wait=False)
    assert "1 of 2 panels computed" in alt(at, "along-eps")
    assert not working(at)
    run_until_ready(at)
    assert "2 of 2 panels computed" in alt(at, "along-eps")
    assert charts(at) == CHARTS["transfer"]
    assert not at.get("progress")


def test_cancelled_in_the_middle(opened: Open) -> None:
    """What was finished stays on the page, and the rest is offered again."""
    long = {"draw": "71", "descent": "2000"}
    opened("transfer", long | {"widths": "8"})
    at = opened("transfer", long | {"widths": ["8", "4096"]}, wait=False)
    next(button for button in at.main.button if button.label == "Run").click().run()
    assert working(at)
    (job,) = (job for job in services().worker.jobs() if not job.finished)
    next(button for button in at.main.button if button.label == "Cancel").click().run()
    assert job.wait(5)
    at.run()
    assert not working(at)
    assert at.info[0].value.startswith("Cancelled: nets trained and attacked (width 8, width 4096; 1 seed).")
    assert "1 of 2 panels computed" in alt(at, "along-eps")
    assert charts(at) == CHARTS["transfer"]
    assert [b.label for b in at.main.button if b.label in ("Run", "Run again", "Go on")] == ["Go on"]


# -- from page to page -------------------------------------------------------------------------------------------------


def thumbnail(at: AppTest, index: int) -> AppTest:
    """Click on a picture of the gallery: the page that it opens, at its first look."""
    at = select(at, "gallery", points=[{"customdata": [index], "point_index": index, "curve_number": 2}])
    assert not at.exception
    return at


def test_a_thumbnail_opens_the_attack_page(opened: Open) -> None:
    """With the image, the net and the kernel that fooled it; also where the page has kept another choice."""
    at = thumbnail(opened("transfer", {"lr": "1"}), 7)
    for index, width in ((0, 8), (5, 16)):
        assert at.main.title[0].value == "Attack"
        at.switch_page("pages/transfer.py").run()
        at.main.selectbox[0].set_value(f"width {width}").run()
        at = thumbnail(at, index)
        assert at.main.title[0].value == "Attack"
        assert at.number_input(key="image").value == index
        assert at.selectbox(key="target").value == f"width {width}"
        assert at.selectbox(key="source").value.startswith("kernel after")


def test_a_net_of_another_training_is_not_mistaken_for_the_default_one(opened: Open) -> None:
    """The Attack page knows nets of the default training only: it shows the kernel instead."""
    at = thumbnail(opened("transfer", {"lr": "0.05"}), 3)
    assert at.main.title[0].value == "Attack"
    assert at.number_input(key="image").value == 3
    assert at.selectbox(key="target").value == "kernel"


STORIES = [name for name, preset in PRESETS.items() if preset.story is not None]


def test_presets_of_stories(opened: Open) -> None:
    """One after another, each with all its own choices and none that another has left."""
    at = opened("overview", wait=False)
    for name in (*STORIES, *reversed(STORIES)):
        story = PRESETS[name].story
        at.button(key=f"preset-{name}").click().run()
        assert not at.exception
        assert at.main.title[0].value == "Transfer"
        assert at.session_state.experiment == PRESETS[name].experiment
        chosen = {
            key: at.session_state[key] for key in ("widths", "seeds", "radius", "beside", "lr", "descent", "images")
        }
        assert chosen == {
            "widths": list(story.widths),
            "seeds": story.seeds,
            "radius": pytest.approx(255 * max(story.eps)),
            "beside": list(story.outside),
            "lr": story.training.lr,
            "descent": story.training.steps,
            "images": story.kernel.data.n_test,
        }
        at.switch_page("pages/overview.py").run()
