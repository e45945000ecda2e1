"""ntkcore: neural tangent kernels, their eigenfeatures, and adversarial robustness, in PyTorch.

The library behind the dashboard on Tsilivis & Kempe, "What Can the Neural Tangent Kernel Tell Us About Adversarial
Robustness?" (NeurIPS 2022). Images are float tensors [n, C, H, W] in [0, 1]; labels [n, c]::

    import ntkcore as ntk
    k = ntk.kernel_fn(ntk.fc(depth=1))
    f = ntk.fit(k, x, y)
    x_adv = ntk.fgsm(eps=8 / 255)(f, x_test, y_test).x_adv
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkcore.analysis.attacks import Attack, AttackResult, fgsm, pgd
    from ntkcore.analysis.eigenfeatures import Sweep, classify, eigenfeatures, subset_predictor
    from ntkcore.analysis.predict import KernelPredictor, accuracy, fit, margin
    from ntkcore.analysis.spectrum import Spectrum, spectrum
    from ntkcore.data import DataSpec, Task, import_npz, load
    from ntkcore.errors import Cancelled, DataError, NTKError, SpecError, StoreError, WorkerError
    from ntkcore.kernels import (
        InputMap,
        TiledKernel,
        empirical_kernel_fn,
        empirical_ntk,
        input_map,
        kernel_fn,
        tiled,
    )
    from ntkcore.nets import Net, conv, fc, myrtle

__version__ = "0.1.0"

_HOME = {
    "Attack": "ntkcore.analysis.attacks",
    "AttackResult": "ntkcore.analysis.attacks",
    "Cancelled": "ntkcore.errors",
    "DataError": "ntkcore.errors",
    "DataSpec": "ntkcore.data",
    "InputMap": "ntkcore.kernels",
    "KernelPredictor": "ntkcore.analysis.predict",
    "NTKError": "ntkcore.errors",
    "Net": "ntkcore.nets",
    "SpecError": "ntkcore.errors",
    "Spectrum": "ntkcore.analysis.spectrum",
    "StoreError": "ntkcore.errors",
    "Sweep": "ntkcore.analysis.eigenfeatures",
    "Task": "ntkcore.data",
    "TiledKernel": "ntkcore.kernels",
    "WorkerError": "ntkcore.errors",
    "accuracy": "ntkcore.analysis.predict",
    "classify": "ntkcore.analysis.eigenfeatures",
    "conv": "ntkcore.nets",
    "eigenfeatures": "ntkcore.analysis.eigenfeatures",
    "empirical_kernel_fn": "ntkcore.kernels",
    "empirical_ntk": "ntkcore.kernels",
    "fc": "ntkcore.nets",
    "fgsm": "ntkcore.analysis.attacks",
    "fit": "ntkcore.analysis.predict",
    "import_npz": "ntkcore.data",
    "input_map": "ntkcore.kernels",
    "kernel_fn": "ntkcore.kernels",
    "load": "ntkcore.data",
    "margin": "ntkcore.analysis.predict",
    "myrtle": "ntkcore.nets",
    "pgd": "ntkcore.analysis.attacks",
    "spectrum": "ntkcore.analysis.spectrum",
    "subset_predictor": "ntkcore.analysis.eigenfeatures",
    "tiled": "ntkcore.kernels",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value
