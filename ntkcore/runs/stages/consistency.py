"""The stages that compare kernels of several architectures on the same images, and show what their features look at.

::

    artifact = result(ConsistencySpec(kernels=(fc.kernel(), conv.kernel())), store)
    read_agreement(artifact.arrays).overlap     # Band of [pairs, P]
"""

from collections.abc import Mapping
from dataclasses import fields
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ntkcore.analysis.agreement import Agreement, agreement
from ntkcore.analysis.consistency import feature_gradients, match_features, vector_overlap
from ntkcore.analysis.resampling import Band
from ntkcore.runs import specs
from ntkcore.runs.stages.context import Arrays, Context, stage
from ntkcore.runs.stages.kernels import parts_of, read_spectrum

BANDS = ("alignment", "uncentred", "overlap")  # fields of ``Agreement`` that have an interval


@stage("consistency")
def _consistency(spec: specs.ConsistencySpec, context: Context) -> Arrays:
    """``Agreement``'s arrays; of each pair |<v_i, v_j>| [pairs, top, top], partners and products [pairs, top]."""
    many = len(spec.kernels)
    shares = np.linspace(0.0, 0.8, many + 1).tolist()
    for kernel, low, high in zip(spec.kernels, shares, shares[1:], strict=False):
        context.get(specs.SpectrumSpec(kernel=kernel), (low, high))
    agreed = agreement([context.get(kernel).arrays["K"] for kernel in spec.kernels], context.report((0.8, 1.0)))
    spectra = [read_spectrum(context.get(specs.SpectrumSpec(kernel=kernel))) for kernel in spec.kernels]
    top, pairs = min(spec.top, *(s.rank for s in spectra)), list(combinations([s.vectors for s in spectra], 2))
    matches = [match_features(*pair, top) for pair in pairs]
    return _arrays_of(agreed) | {
        "vectors": torch.stack([vector_overlap(*pair, top) for pair in pairs]),
        "partner": torch.stack([match.partner for match in matches]),
        "product": torch.stack([match.product for match in matches]),
    }


@stage("gradients")
def _gradients(spec: specs.GradientsSpec, context: Context) -> Arrays:
    """``feature_gradients``, in the kernel's precision: [top, images, C, H, W]."""
    p = parts_of(spec.kernel, context, (0.0, 0.5))
    x, images = p.x.to(getattr(torch, spec.kernel.precision)), p.x_test[: spec.images]
    features = range(min(spec.top, p.s.rank))
    return {"gradients": feature_gradients(p.kernel, p.s, x, images, features, context.report((0.5, 1.0))).float()}


def _arrays_of(agreed: Agreement) -> Arrays:
    """Fields by their names; of a band ``name``, ``name_low`` and ``name_high``, too."""
    found = {field.name: np.asarray(getattr(agreed, field.name)) for field in fields(agreed) if field.name not in BANDS}
    for name in BANDS:
        band = getattr(agreed, name)
        found |= {name: band.mean, f"{name}_low": band.low, f"{name}_high": band.high}
    return found


def read_agreement(arrays: Mapping[str, Tensor | np.ndarray]) -> Agreement:
    """The stage's arrays as they were made by ``agreement``."""
    found = {name: np.asarray(value) for name, value in arrays.items()}
    bands = {name: Band(found[name], *(found[f"{name}_{side}"] for side in ("low", "high"))) for name in BANDS}
    return Agreement(**{field.name: found[field.name] for field in fields(Agreement)} | bands)
