"""Results that come with the project: read where the cache has none, never written, all that the story asks for."""

import shutil
from pathlib import Path

import pytest
import torch

from ntkcore.runs.make_shipped import shipped_specs
from ntkcore.runs.specs import Experiment, key
from ntkcore.runs.stages import result
from ntkcore.runs.store import SHIPPED, Store

SPEC = Experiment(data=Experiment().data.replace(n_train=12, n_test=6)).kernel()


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A folder of shipped results: one kernel."""
    made = Store(tmp_path / "made")
    result(SPEC, made)
    shutil.copytree(made.root / "kernel", tmp_path / "layer" / "kernel")
    return tmp_path / "layer"


def test_what_is_shipped_is_read_and_not_copied(layer: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", shipped=layer)
    assert store.has("kernel", key(SPEC))
    found = store.get("kernel", key(SPEC))
    assert found is not None
    assert found.path.is_relative_to(layer)
    assert result(SPEC, store).arrays["K"].equal(found.arrays["K"])
    assert store.entries() == []
    store.clear()
    assert store.has("kernel", key(SPEC))
    assert not Store(tmp_path / "cache").has("kernel", key(SPEC))


def test_what_is_damaged_is_computed_and_stays_there(layer: Path, tmp_path: Path) -> None:
    (file,) = layer.glob("kernel/*/arrays.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + b"nonsense!")
    store = Store(tmp_path / "cache", shipped=layer)
    assert store.get("kernel", key(SPEC)) is None
    assert result(SPEC, store).path.is_relative_to(store.root)
    assert file.read_bytes() == whole[:-9] + b"nonsense!"
    assert store.incidents() == ()


def test_what_is_shipped_is_what_the_story_asks_for() -> None:
    """A stage of another version has another key: then ``python -m ntkcore.runs.make_shipped`` is due."""
    wanted = {f"{spec.stage}/{name}" for name, spec in shipped_specs().items()}
    assert {"/".join(path.parent.parts[-2:]) for path in SHIPPED.glob("*/*/meta.json")} == wanted


@pytest.mark.parametrize("name", shipped_specs())
def test_what_is_shipped_is_whole(name: str, tmp_path: Path) -> None:
    spec = shipped_specs()[name]
    found = Store(tmp_path, shipped=SHIPPED).get(spec.stage, name)
    assert found is not None
    assert found.meta["spec"] == spec.model_dump(mode="json")


@pytest.mark.slow
def test_what_is_shipped_is_what_is_computed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All of it anew; other processors round otherwise, and a verdict in two hundred may hang on that."""
    store, shipped = Store(tmp_path_factory.mktemp("new")), Store(tmp_path_factory.mktemp("none"), shipped=SHIPPED)
    for name, spec in shipped_specs().items():
        new, old = result(spec, store, device="cpu").arrays, shipped.get(spec.stage, name)
        assert old is not None
        assert set(new) == set(old.arrays)
        for part, value in new.items():
            there = old.arrays[part]
            assert value.shape == there.shape, (spec.stage, part)
            if value.dtype == torch.bool:
                assert (value != there).double().mean() <= 0.005, (spec.stage, part)
