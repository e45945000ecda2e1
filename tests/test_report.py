"""The report: every claim with its verdict, in one file that asks nothing of a network."""

import base64
import gzip
import json
import re

import pytest

from ntkcore import cli
from ntkcore.data import DataSpec
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.report import report
from ntkcore.runs.specs import Experiment, canonical
from ntkcore.runs.stages import result
from ntkcore.runs.store import Store

E = Experiment(data=DataSpec(n_train=40, n_test=20, size=7))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def page(store: Store) -> str:
    return report(E, store)


def test_every_claim_with_its_verdict(page: str, store: Store) -> None:
    for claim in CLAIMS:
        judged = claim.judge(E, {name: result(spec, store) for name, spec in claim.specs(E).items()})
        for words in (claim.title, claim.rule, judged.number, judged.verdict, judged.of_what):
            assert words.replace("&", "&amp;").replace("'", "&#x27;") in page


def test_it_asks_for_nothing(page: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["']""", page.split('id="packed"')[0])
    assert len(page.encode()) <= 2_000_000


def test_figures_and_plotly_travel_in_it(page: str) -> None:
    packed = re.search(r'id="packed">([^<]|<(?!/script))*', page)
    assert packed is not None
    script, *figures = gzip.decompress(base64.b85decode(packed[0].removeprefix('id="packed">'))).decode().split("\0")
    assert "plotly" in script[:200]
    assert [bool(json.loads(figure)["data"]) for figure in figures] == [True] * len(CLAIMS)


def test_the_command(store: Store, page: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "e.json").write_text(canonical(E))
    out = tmp_path / "mine.html"
    assert cli.main(["--cache", str(store.root), "report", str(tmp_path / "e.json"), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == page
    assert cli.main(["report", str(tmp_path / "e.json"), "--out", "mine.pdf"]) == 1
    assert "give the name of an .html file" in capsys.readouterr().err


def test_a_talk_that_is_prepared(store: Store, page: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """All is there since the report: the command says so, and stores nothing."""
    (tmp_path / "e.json").write_text(canonical(E))
    before = {(entry.stage, entry.key) for entry in store.entries()}
    assert cli.main(["--cache", str(store.root), "prepare", str(tmp_path / "e.json")]) == 0
    assert (
        capsys.readouterr().out == "All seven claims are ready. Other images and features are drawn when asked for.\n"
    )
    assert {(entry.stage, entry.key) for entry in store.entries()} == before
