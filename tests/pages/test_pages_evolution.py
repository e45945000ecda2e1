"""Evolution: what the page says against the runs themselves, its controls, and what goes wrong on the way."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from streamlit.testing.v1 import AppTest

from ntkcore.analysis.evolution.motion import Motion, effective_rank, gram_of, top_share
from ntkcore.readings.words import percent, signed
from ntkcore.runs import consent, specs
from ntkcore.runs.specs import EpochSpec, Evolution, NamedNet, TwinNet
from ntkcore.runs.store import Store
from pages.ui.controls.evolution import EVOLUTION, TWIN
from pages.ui.shell.services import services
from visits import CHARTS, charts, complaints, number, run_until_ready, select, stored, text, working

Open = Callable[..., AppTest]
LINK = {"size": "14", "epochs": "3", "eps": "24", "inputs": "centre"}
LINK |= {"elr": "0.1", "batch": "10", "judged": "10", "probe": "30"}


def evolution_of(at: AppTest, **fields: object) -> Evolution:
    """What the page shows for LINK, built from the sidebar's experiment."""
    e, attack = at.session_state.experiment, at.session_state.experiment.attack
    pgd = specs.Experiment().attack.replace(eps=attack.eps, steps=7, step_size=0.25 * attack.eps)
    usual = Evolution(data=e.data, inputs=e.inputs, seeds=1, epochs=3, judged=10, probe=30, fgsm=attack, pgd=pgd)
    return usual.replace(schedule=usual.schedule.replace(lr=0.1, batch=10), **fields)


def test_numbers_of_the_sentences(opened: Open) -> None:
    """Means over three seeds, and the intervals of paired changes by scipy."""
    at = opened("evolution", LINK | {"eseeds": "3", "epochs": "2"})
    e, words = evolution_of(at, seeds=3, epochs=2), text(at)
    assert complaints(at) == []
    share, rank, late = ({} for _ in range(3))
    for regime, name in (("standard", "standard"), ("fgsm", "FGSM")):
        found = [{k: stored(e.wanted()[regime, seed, 2, k]).arrays for k in ("score", "moment")} for seed in range(3)]
        clean, attacked = (
            np.mean([one["score"][f"test_{kind}"].numpy() for one in found]) for kind in ("clean", "pgd")
        )
        assert f"{percent(clean)} and {percent(attacked)} after {name} training" in words
        values = [one["moment"]["values"] for one in found]
        share[name] = np.array([top_share(one, 20) for one in values])
        rank[name] = np.array([effective_rank(one) for one in values])
        rows = [
            [stored(e.wanted()[regime, seed, t, "moment"]).arrays["inner"][:, 0] for t in range(3)] for seed in range(3)
        ]
        late[name] = np.array([float(Motion(gram_of(seed)).velocity[1:].mean()) for seed in rows])
        assert f"{late[name].mean():.2g} under {name} training" in words
    shares = [percent(one.mean()) for one in share.values()]
    assert f"hold {shares[0]} of the trace under standard training and {shares[1]} under FGSM training" in words
    assert f"effective rank {rank['standard'].mean():.1f} against {rank['FGSM'].mean():.1f}" in words
    told = stats.ttest_rel(100 * share["FGSM"], 100 * share["standard"]).confidence_interval(0.95)
    assert f"[{signed(told.low, '.1f')}, {signed(told.high, '.1f')}] points of the trace more" in words
    told = stats.ttest_rel(np.log(late["FGSM"]), np.log(late["standard"])).confidence_interval(0.95)
    assert f"[{np.exp(told.low):.2f}, {np.exp(told.high):.2f}] times as fast" in words
    slower = "holds" if told.high < 0 else "does not hold here" if told.low > 0 else "cannot tell"
    assert f"slower late in training: {slower};" in words
    assert "3 seeds)" in at.main.markdown[1].value


def test_one_seed_cannot_tell(opened: Open) -> None:
    words = text(opened("evolution", LINK))
    assert "**cannot tell**" in words
    assert "1 seed cannot tell, 3 may" in words
    assert "holds" not in words


def test_threshold_of_laziness(opened: Open) -> None:
    """Half of the first velocity is reached earlier than a hundredth."""
    for share, never in (("0.5", False), ("0.01", True)):
        words = text(opened("evolution", LINK | {"share": share}))
        assert f"stays below {100 * float(share):g} % of its first value" in words
        assert "Lazy by the threshold, FGSM against standard training, one seed: " in words
        assert ("at no point" in words) or not never


@pytest.mark.parametrize(
    ("link", "fields"),
    [
        pytest.param({"trained": "Large CNN (6 convolutions)"}, {"net": NamedNet(name="cnn-large")}, id="large"),
        pytest.param({"init": "torch"}, {"net": NamedNet(init="torch")}, id="init"),
        pytest.param(
            {"trained": TWIN, "ewidth": "16", "form": "ntk"},
            {"net": TwinNet(width=16, parameterisation="ntk")},
            id="twin",
        ),
        pytest.param({"regimes": ["standard", "PGD"], "psteps": "2"}, {"regimes": ("standard", "pgd")}, id="pgd"),
        pytest.param({"eseeds": "2", "every": "2"}, {"seeds": 2, "every": 2}, id="seeds"),
        pytest.param({"attacked": "true", "probe": "25"}, {"attacked": True, "probe": 25}, id="attacked"),
        pytest.param({"judged": "8", "tested": "7", "emomentum": "0.5"}, {"judged": 8, "tested": 7}, id="judged"),
    ],
)
def test_controls(link: dict, fields: dict, opened: Open) -> None:
    """Each control reaches what is computed, and the page draws it."""
    at = opened("evolution", LINK | {"epochs": "1"} | link)
    assert not at.exception
    assert complaints(at) == []
    e = evolution_of(at, epochs=1, **fields)
    if "psteps" in link:
        e = e.replace(pgd=e.pgd.replace(steps=2))
    if "emomentum" in link:
        e = e.replace(schedule=e.schedule.replace(momentum=0.5))
    for spec in e.wanted().values():
        stored(spec)
    assert charts(at) == CHARTS["evolution"]


def test_choices_are_the_controls(opened: Open) -> None:
    """What a preset sets is what the page then asks for."""
    e = Evolution(
        net=TwinNet(width=16),
        regimes=("pgd",),
        epochs=2,
        seeds=2,
        judged=7,
        tested=5,
        probe=20,
        every=2,
        freeze=(1,),
        attacked=True,
        solved_on=30,
        ridge=0.5,
    )
    values = EVOLUTION.values(e)
    link = {name: [str(v) for v in value] if isinstance(value, list) else str(value) for name, value in values.items()}
    at = opened("evolution", {k: v.lower() if v == "True" else v for k, v in link.items()}, wait=False)
    assert complaints(at) == []
    assert {name: at.session_state[name] for name in values} == values


def test_frozen(opened: Open) -> None:
    """A row for each way, net and epoch, with its training images; the sentence's numbers are the first seed's."""
    at = opened("evolution", LINK | {"freeze": ["0", "2"]})
    e = evolution_of(at, freeze=(0, 2))
    assert charts(at)[:-1] == CHARTS["evolution"]
    assert charts(at)[-1].endswith("-frozen")
    table = at.main.dataframe[0].value
    assert len(table) == 2 * 2 * 2
    for _, row in table.iterrows():
        group = e.frozen() if row["By"] == "training on" else e.solved()
        name = {"standard": "standard", "FGSM": "fgsm"}[row["Training"]]
        found = stored(group[name, 0, row["Frozen after epoch"]]).arrays
        assert row["PGD"] == pytest.approx(float(found["test_pgd"].double().mean()))
        assert row["Training images, clean"] == pytest.approx(float(found["train_clean"].double().mean()))
    assert "Frozen, the net gets right under attack" in text(at)


def test_the_kernel_at_one_epoch(opened: Open) -> None:
    at = opened("evolution", LINK | {"look": "1", "of": "4"})
    e = evolution_of(at)
    for regime in e.regimes:
        found = stored(specs.TangentFeaturesSpec(tangent=e.tangent(regime, 0, 1), index=4)).arrays
        assert found["gradients"].shape == (4, 1, 14, 14)
    captions = [caption for image in at.main.image for caption in image.captions]
    assert captions.count("feature 3") == 2
    assert "FGSM training, epoch 1" in captions


def test_several_classes_are_special(opened: Open) -> None:
    at = opened("evolution", {"classes": ["Coat", "Bag", "Shirt"], "epochs": "1", "probe": "20"})
    assert charts(at) == CHARTS["evolution"]
    assert complaints(at) == []


def test_stopped_and_gone_on(opened: Open) -> None:
    """Cancelled in the middle: what is there is drawn and kept; the button goes on."""
    at = opened("evolution", LINK | {"draw": "44", "epochs": "40", "n": "400"}, wait=False)
    (run,) = (button for button in at.button if button.label == "Run")
    run.click().run()
    for _ in range(200):
        if sum("draw 44" in entry.meta["words"] and entry.stage == "score" for entry in Store().entries()) > 2:
            break
        for job in services().worker.jobs():
            job.wait(0.1)
        at.run()
    assert working(at)
    next(button for button in at.button if button.label == "Cancel").click().run()
    for job in services().worker.jobs():
        job.wait(20)
    at.run()
    assert not at.exception
    assert "accuracies" in charts(at)
    before = {e.key: e.created for e in Store().entries() if e.stage == "epoch" and "draw 44" in e.meta["words"]}
    assert 0 < len(before) < 81
    assert any(button.label == "Go on" for button in at.button)
    at.number_input(key="epochs").set_value(2).run()
    run_until_ready(at)
    after = {e.key: e.created for e in Store().entries() if e.stage == "epoch" and "draw 44" in e.meta["words"]}
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param({"elr": "1000000", "loss": "squared"}, "Choose a smaller learning rate", id="diverges"),
        pytest.param(
            {"size": "7", "trained": "ResNet-18 for small images", "n": "8", "batch": "1"},
            "Choose larger batches or larger images",
            id="batch of one",
        ),
        pytest.param({"epochs": "0"}, "The link's epochs could not be used", id="no epoch"),
        pytest.param({"trained": "VGG"}, "The link's trained could not be used", id="unknown net"),
    ],
)
def test_what_goes_wrong_is_said(link: dict, words: str, opened: Open) -> None:
    refused = words.startswith("The link's")  # said before anything is trained
    at = opened("evolution", {"epochs": "1", "m": "4"} | link, wait=not refused)
    at = at.run() if refused else at
    assert not at.exception
    assert words in " ".join(complaints(at))


def test_no_training_chosen(opened: Open) -> None:
    at = opened("evolution", wait=False)
    at.multiselect(key="regimes").set_value([]).run()
    assert not at.exception
    assert "Choose at least one kind of training" in at.error[0].value


def test_fewer_epochs_drop_what_they_do_not_have(opened: Open) -> None:
    """A freeze epoch and a look beyond the last epoch."""
    at = opened("evolution", LINK | {"freeze": "2", "look": "3"})
    at.number_input(key="epochs").set_value(1).run()
    at = run_until_ready(at)
    assert not at.exception
    assert complaints(at) == []
    assert charts(at) == CHARTS["evolution"]


def test_open_a_run(opened: Open) -> None:
    """Runs > Open of a checkpoint's kernel: the page with the run's own controls."""
    at = opened("evolution", LINK | {"epochs": "2", "trained": TWIN, "ewidth": "8", "draw": "45"})
    e = evolution_of(at, epochs=2, net=TwinNet(width=8))
    moment = e.wanted()["fgsm", 0, 2, "moment"]
    assert EpochSpec.at(e.run("fgsm"), 2) == moment.checkpoint
    at = opened("runs")
    at.toggle(key="every-epoch").set_value(True).run()
    order = sorted(Store().entries(), key=lambda entry: -entry.created)
    at = select(at, "runs", rows=[[entry.key for entry in order].index(specs.key(moment))])
    next(button for button in at.main.button if button.label == "Open").click().run()
    assert not at.exception
    assert at.main.title[0].value == "Evolution"
    wanted = {"trained": TWIN, "ewidth": 8, "regimes": ["FGSM"], "epochs": 2, "elr": 0.1, "batch": 10}
    assert {name: at.session_state[name] for name in wanted} == wanted
    assert number(r"(\d+) training and", at.main.caption[0].value) == 60


# -- the kernel of a checkpoint on the other pages -----------------------------------------------------------------


def test_use_this_kernel(opened: Open) -> None:
    """From the epoch slider to the Spectrum of that net's kernel; the link leads every page to it."""
    at = opened("evolution", LINK | {"n": "40", "probe": "40", "look": "2"})
    checkpoint = at.session_state.experiment
    at.button(key="use-fgsm").click().run()
    assert not at.exception
    assert at.main.title[0].value == "Spectrum"
    experiment = at.session_state.experiment
    assert (experiment.kind, experiment.checkpoint.epoch) == ("empirical", 2)
    assert experiment.checkpoint.run.attack == checkpoint.attack
    link = {"n": "40", "inputs": "centre", "eps": "24", "size": "14", "kind": "empirical"}
    link["checkpoint"] = specs.key(experiment.checkpoint)
    for page in ("overview", "spectrum", "eigenfeatures", "attack"):
        at = opened(page, link)
        assert not at.exception, page
        assert at.session_state.experiment == experiment
        assert complaints(at) == [], page
        assert charts(at) == CHARTS[page], page
        assert "empirical NTK of Small CNN" in at.main.caption[0].value
    kernel = stored(experiment.kernel()).arrays["K"].numpy()
    probe = evolution_kernel(experiment)
    assert kernel == pytest.approx(probe, rel=1e-3, abs=1e-3 * float(np.abs(probe).max()))


def test_back_to_the_infinite_net(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidebar says whose kernel it is, greys out what has no effect there, and leads back."""
    at = opened("evolution", LINK | {"n": "40", "look": "2", "depth": "3"})
    monkeypatch.setattr(consent, "AUTOMATIC", -1.0)  # what the other pages would compute is only offered
    at.button(key="use-fgsm").click().run()
    assert not at.exception
    (said,) = at.sidebar.info
    assert "Small CNN (2 convolutions), he initialisation, FGSM training, seed 0, epoch 2" in said.value
    assert "have no effect on this page" in said.value
    of_the_net = ("net", "depth", "w", "b", "act", "inputs")
    controls = {key: next(one for one in at.sidebar if getattr(one, "key", None) == key) for key in of_the_net}
    assert {key: one.disabled for key, one in controls.items()} == dict.fromkeys(of_the_net, True)
    at.switch_page("pages/transfer.py").run()
    assert not at.selectbox(key="depth").disabled
    assert "that this page also shows" in at.sidebar.info[0].value
    at.switch_page("pages/spectrum.py").run()
    at.button(key="infinite").click().run()
    experiment = run_until_ready(at).session_state.experiment
    assert (experiment.kind, experiment.checkpoint, experiment.net.depth) == ("ntk", None, 3)
    assert "FC(3) NTK" in at.main.caption[0].value
    assert list(at.sidebar.info) == []
    assert not at.selectbox(key="depth").disabled


def evolution_kernel(experiment: specs.Experiment) -> np.ndarray:
    """The same kernel as the Evolution page has it: its probe set was all training images."""
    spec = specs.TangentSpec(checkpoint=experiment.checkpoint, n=experiment.data.n_train)
    return stored(spec).arrays["kernel"].numpy()


@pytest.mark.parametrize(
    ("link", "words"),
    [
        pytest.param({}, "choose one on the Evolution page", id="none"),
        pytest.param({"checkpoint": "0" * 32}, "not in the cache", id="unknown"),
        pytest.param({"checkpoint": "../../etc"}, "not in the cache", id="no name"),
    ],
)
def test_a_checkpoint_that_is_not_there(link: dict, words: str, opened: Open) -> None:
    at = opened("spectrum", {"kind": "empirical"} | link)
    assert not at.exception
    assert words in at.error[0].value
    at.segmented_control(key="kind").set_value("ntk").run()
    assert not at.error


def test_a_checkpoint_of_other_classes(opened: Open) -> None:
    at = opened("evolution", {"epochs": "1", "n": "40"})
    at.button(key="use-standard").click().run()
    at.multiselect(key="classes").set_value(["Coat", "Bag"]).run()
    assert not at.exception
    assert "trained on other images or classes" in at.error[0].value


def test_runs_after_evolution_in_one_tab(opened: Open) -> None:
    """The table of Runs and the controls of Evolution share no key: one tab may hold both."""
    at = opened("evolution", LINK)
    at.switch_page("pages/runs.py").run()
    assert not at.exception
    assert len(at.main.dataframe) == 1


@pytest.mark.parametrize("checkpoint", [{}, {"checkpoint": "foo"}], ids=["none", "unknown"])
def test_an_empirical_kernel_without_its_checkpoint_leaves_the_way_to_one_open(opened: Open, checkpoint) -> None:
    at = opened("evolution", LINK | {"kind": "empirical"} | checkpoint)
    assert not at.error
    assert charts(at) == CHARTS["evolution"]
    at = opened("spectrum", {"kind": "empirical"} | checkpoint, wait=False)
    assert "Evolution page" in at.error[0].value


def test_a_deleted_net_is_made_again_when_it_is_looked_at(opened: Open) -> None:
    e = evolution_of(opened("evolution", LINK))
    checkpoint = e.tangent("fgsm", 0, e.epochs).checkpoint
    services().store.delete(EpochSpec.stage, specs.key(checkpoint))
    at = opened("evolution", LINK)
    assert stored(checkpoint) is not None
    assert [button.label for button in at.button if button.label.startswith("Use this kernel: FGSM")]
