"""What the library promises to others: its names, the snippet of its public face, and the examples of the documents."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ntkcore as ntk

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): blocks
    for path in (*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md")))
    if (blocks := re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
}

# As it is promised, line by line; x1, x2, x, y, x_test, y_test and root are the reader's.
PUBLIC_FACE = """
import ntkcore as ntk
net = ntk.fc(depth=1, W_std=2**0.5, b_std=0.1)
k = ntk.kernel_fn(net, kind="ntk")
K = k(x1); K12 = k(x1, x2)
module = net.module(in_shape, width=512, outputs=1, seed=0)
E = ntk.empirical_kernel_fn(module)
s = ntk.spectrum(K)
f = ntk.fit(k, x, y, time=float("inf"), ridge=0.0)
x_adv = ntk.fgsm(eps=8/255)(f, x_test, y_test).x_adv
sweep = ntk.eigenfeatures(k, x, y, x_test, y_test, attack=ntk.fgsm(8/255))
task = ntk.load(TASK, root=root)
"""
BUNDLED = 'ntk.DataSpec(name="fashion-mnist-sample", classes=("T-shirt/top", "Shirt"), n_train=1000, n_test=100)'
CIFAR = 'ntk.DataSpec(name="cifar10", classes=("airplane", "automobile"), n_train=2000, n_test=100)'


def run(code: str, **names: object) -> dict[str, object]:
    """Execute code and give back its names."""
    exec(compile(code, "<snippet>", "exec"), names)
    return names


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("task", "n", "shape"),
    [
        pytest.param(BUNDLED, 1000, (1, 28, 28), id="bundled"),
        pytest.param(CIFAR, 2000, (3, 32, 32), id="cifar10", marks=pytest.mark.realdata),
    ],
)
def test_the_snippet_of_the_public_face_runs_as_written(task, n, shape, dtype):
    g = torch.Generator().manual_seed(0)
    x, x2, x_test = (torch.rand(size, 3, 8, 8, generator=g, dtype=dtype) for size in (30, 7, 9))
    y, y_test = (torch.where(torch.rand(size, 1, generator=g) < 0.5, -1.0, 1.0) for size in (30, 9))
    names = run(
        PUBLIC_FACE.replace("TASK", task),
        x=x, x1=x, x2=x2, y=y, x_test=x_test, y_test=y_test, in_shape=(3, 8, 8), root=None,
    )  # fmt: skip
    assert (names["K"].shape, names["K12"].shape) == ((30, 30), (30, 7))
    assert names["K"].dtype == names["K12"].dtype == dtype
    assert names["E"](x2.float()).shape == (7, 7)
    s = names["s"]
    assert s.values.dtype == s.vectors.dtype == torch.float64
    assert (s.values.shape, s.vectors.shape) == ((30,), (30, 30))
    assert bool((s.values[:-1] >= s.values[1:]).all())
    z = x_test.clone().requires_grad_()
    outputs = names["f"](z)
    assert outputs.shape == (9, 1)
    assert torch.autograd.grad(outputs.sum(), z)[0].abs().sum() > 0
    assert 0 < (names["x_adv"] - x_test).abs().max() <= 8 / 255 + 1e-6
    sweep = names["sweep"]
    assert sweep.usefulness.shape == sweep.robustness.shape == (30,)
    assert len(sweep.spectrum.values) == 30
    loaded = names["task"]
    assert (loaded.x_train.shape, loaded.y_train.shape) == ((n, *shape), (n, 1))
    assert (loaded.x_test.shape, loaded.y_test.shape) == ((100, *shape), (100, 1))


def test_the_other_choices_of_the_public_face():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for net in (ntk.conv(depth=2), *(ntk.myrtle(depth) for depth in (5, 7, 10))):
        for kind in ("ntk", "nngp"):
            assert ntk.kernel_fn(net, kind=kind)(x).shape == (4, 4)
    module = ntk.fc(1).module((3, 8, 8), width=16, outputs=2)
    assert ntk.empirical_ntk(module, x, x[:3]).shape == (4, 3, 2, 2)
    f = ntk.fit(ntk.kernel_fn(ntk.fc(1)), x, torch.ones(4, 1))
    for norm in ("linf", "l2"):
        attack = ntk.pgd(0.1, steps=3, step_size=0.05, norm=norm, random_start=True)
        assert attack(f, x, torch.ones(4, 1)).x_adv.shape == x.shape


def test_every_public_name_is_there():
    assert sorted(ntk.__all__) == ntk.__all__
    for name in ntk.__all__:
        assert getattr(ntk, name).__module__.startswith("ntkcore."), name
    assert set(ntk.__all__) <= set(dir(ntk))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ntk.nothing  # noqa: B018


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_a_document_run(document, monkeypatch, tmp_path, capsys):
    """Its Python blocks one after another, as a reader types them; what needs another library is marked ``py``."""
    monkeypatch.chdir(tmp_path)
    run("\n".join(DOCUMENTS[document]), __name__="document")
    assert "%" in capsys.readouterr().out


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "README.md" in DOCUMENTS
    assert len(text.split()) <= 900
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^):#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_importing_it_first_says_how_idle_threads_wait():
    code = "import os, sys, ntkcore; print(os.environ['GOMP_SPINCOUNT'], os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    waits = {"GOMP_SPINCOUNT", "OPENBLAS_THREAD_TIMEOUT"}
    bare = {name: value for name, value in os.environ.items() if name not in waits}
    for given, expected in (({}, "1000 4"), ({"GOMP_SPINCOUNT": "7"}, "7 4")):
        made = subprocess.run(
            [sys.executable, "-c", code], env=bare | given, capture_output=True, text=True, check=True
        )
        assert made.stdout.split() == expected.split()
