"""The pictures that follow the radius on the Attack page: each is what the library's attack of that radius makes."""

import pytest
import torch

import ntkcore as ntk
from ntkcore.figures.attacks.along_radius import attacked_image
from ntkcore.figures.drawing.images import data_uri, to_rgb
from ntkcore.runs import stages
from ntkcore.runs.specs import Experiment, NetSpec
from ntkcore.runs.store import Store

TINY = Experiment(data=ntk.DataSpec(n_train=24, n_test=12, size=7))


@pytest.mark.parametrize(
    "e",
    [
        pytest.param(TINY, id="one step, linf, fc"),
        pytest.param(
            TINY.replace(
                data=TINY.data.replace(classes=("Bag", "Coat", "Sandal")),
                net=NetSpec(family="conv", depth=1),
                attack=ntk.pgd(0.5, steps=3, norm="l2"),
                inputs="centre",
            ),
            id="steps, l2, conv",
        ),
        pytest.param(TINY.replace(attack=ntk.pgd(steps=10, random_start=True)), id="random start"),
    ],
)
def test_frames_along_the_radius_are_what_the_attack_makes(e, tmp_path):
    """At five radii the image, the outputs and the figure's picture are those of the attack of that radius."""
    task = ntk.load(e.data)
    k = ntk.kernel_fn(e.net.build(), e.kind, ntk.input_map(e.inputs, task.x_train))
    f = ntk.fit(k, task.x_train, task.y_train, ridge=e.ridge)
    x, y = task.x_test[1:2].double(), task.y_test[1:2].double()
    a = stages.result(e.flip(1), Store(tmp_path), device="cpu").arrays
    eps, at = a["eps"].tolist(), int(a["at"])
    along = [a[name].numpy() for name in ("image", "x_adv", "eps")]
    fig = attacked_image(*along, ["?"] * len(eps), a["margin"], {"fgsm": a["fgsm_margin"]}, at=at, norm=e.attack.norm)
    assert eps[at] == e.attack.eps
    assert len(fig.to_json()) < 1_000_000
    for i in (0, 3, at, 17, len(eps) - 1):
        scaled = {"eps": eps[i], "step_size": e.attack.step_size * (eps[i] / e.attack.eps)}
        one = e.attack.model_copy(update=scaled)(f, x, y)
        torch.testing.assert_close(a["x_adv"][i], one.x_adv[0].float())
        torch.testing.assert_close(a["attacked"][i], one.attacked[0])
        assert fig.frames[i].data[1].source == data_uri(to_rgb(a["x_adv"][i].numpy()))
