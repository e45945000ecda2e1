"""The peer: neural-tangents in a Python of its own, asked to time its kernels between our own calls.

::

    with neural_tangents() as peer:              # None where its environment is not there: make peer
        peer.prepare("myrtle", 5, (3, 8, 8), 32)
        peer.seconds()                           # of one call, compiled already
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
PYTHON = Path(os.environ.get("NTK_PEER_PYTHON", ROOT / ".venv-peer" / "bin" / "python"))
MISSING = "neural-tangents is not there to compare with; `make peer` installs it in an environment of its own"


@dataclass(frozen=True)
class Peer:
    """The running process."""

    process: subprocess.Popen[str]

    def prepare(self, family: str, depth: int, shape: Sequence[int], n: int) -> list[float]:
        """Build and compile a square kernel of n images -> that of the first with the first three."""
        return self._ask({"net": family, "depth": depth, "shape": list(shape), "n": n})["corner"]

    def seconds(self) -> float:
        return self._ask({"call": True})["seconds"]

    def prepare_features(self, family: str, depth: int, folder: Path) -> None:
        """Compile one feature's sweep on the arrays in a folder (see ``peer/serve.py``)."""
        self._ask({"net": family, "depth": depth, "features": str(folder)})

    def feature(self, number: int) -> tuple[float, int, int]:
        """Seconds for one feature, and how many test images it has right before and after the attack on it."""
        found = self._ask({"feature": number})
        return found["seconds"], found["right"], found["robust"]

    def prepare_empirical(self, layers: Sequence[str], way: str, folder: Path) -> np.ndarray | None:
        """Compile the full empirical kernel of a net on the arrays in a folder (see ``peer/serve.py``) -> its value.

        way: of neural-tangents' NtkImplementation, by name. None where it needs more memory than there is."""
        answer = self._ask({"empirical": str(folder), "layers": list(layers), "way": way})
        return None if "failed" in answer else np.load(folder / "theta.npy")

    def _ask(self, question: dict[str, object]) -> dict:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"neural-tangents ended with code {self.process.wait()} when asked for {question}")
        return json.loads(line)


@contextmanager
def neural_tangents(double: bool = False) -> Iterator[Peer | None]:
    """The peer, in single or in double precision; None where it is not installed."""
    if not PYTHON.exists():
        yield None
        return
    serve = Path(__file__).parent / "peer" / "serve.py"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    # on a GPU: leave memory for others, and no products of ten bits
    clean |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "JAX_DEFAULT_MATMUL_PRECISION": "float32"}
    clean |= {"JAX_ENABLE_X64": "1"} if double else {}
    with subprocess.Popen(
        [str(PYTHON), str(serve)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean
    ) as process:  # it ends when nothing more is asked
        yield Peer(process)
