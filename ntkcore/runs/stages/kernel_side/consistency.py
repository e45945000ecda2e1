"""The stage that compares kernels of several architectures on the same images.

::

    artifact = result(ConsistencySpec(kernels=(fc.kernel(), conv.kernel())), store)
    read_agreement(artifact.arrays).overlap     # Band of [pairs, P]
"""

from collections.abc import Mapping
from dataclasses import fields
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from ntkcore.analysis.consistency.agreement import GROUPS, Agreement, agreement
from ntkcore.analysis.consistency.similarity import match_features, vector_overlap
from ntkcore.analysis.intervals import Band
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.kernel_side.kernel import KernelSpec
from ntkcore.runs.stages.kernel_side.spectrum import SpectrumSpec, leading_in_words, read_spectrum
from ntkcore.runs.stages.nets import NetSpec
from ntkcore.runs.stages.phrases import data_in_words, unusual
from ntkcore.runs.stages.sizes import Estimate
from ntkcore.runs.stages.stage import Arrays, Context, StageSpec

BANDS = ("alignment", "uncentred", "overlap")  # fields of ``Agreement`` that have an interval
_DEEPER = KernelSpec(net=NetSpec(depth=3))


class ConsistencySpec(StageSpec):
    """How far the kernels of several architectures agree on the same images, and their ``top`` leading eigenvectors."""

    stage: ClassVar[str] = "consistency"
    version: ClassVar[int] = 2
    kernels: tuple[KernelSpec, ...] = Field((KernelSpec(), _DEEPER), min_length=2, max_length=5)
    top: int = Field(20, ge=1, le=100)
    leading: int | None = Field(None, ge=1, exclude_if=lambda k: k is None)  # as in ``EigenpairsSpec``

    @model_validator(mode="after")
    def _same_images(self) -> "ConsistencySpec":
        if len({kernel.data for kernel in self.kernels}) > 1:
            raise ValueError("The architectures see different images; choose the same for all.")
        if len(set(self.kernels)) < len(self.kernels):
            raise ValueError("An architecture is chosen twice; choose different ones.")
        _ = self.spectra  # says what does not fit
        return self

    @property
    def spectra(self) -> tuple[SpectrumSpec, ...]:
        """The eigenpairs of each."""
        return tuple(SpectrumSpec(kernel=kernel, leading=self.leading) for kernel in self.kernels)

    def reads(self) -> tuple[StageSpec, ...]:
        return (*self.spectra, *self.kernels)

    def compute(self, context: Context) -> Arrays:
        """``Agreement``'s arrays; of each pair |<v_i, v_j>| [pairs, top, top], partners and products [pairs, top]."""
        many = len(self.kernels)
        shares = np.linspace(0.0, 0.8, many + 1).tolist()
        for one, low, high in zip(self.spectra, shares, shares[1:], strict=False):
            context.get(one, (low, high))
        kernels = [context.get(kernel).arrays["K"] for kernel in self.kernels]
        agreed = agreement(kernels, context.report((0.8, 1.0)), self.leading)
        spectra = [read_spectrum(context.get(one)) for one in self.spectra]
        top, pairs = min(self.top, *(s.rank for s in spectra)), list(combinations([s.vectors for s in spectra], 2))
        matches = [match_features(*pair, top) for pair in pairs]
        return _arrays_of(agreed) | {
            "vectors": torch.stack([vector_overlap(*pair, top) for pair in pairs]),
            "partner": torch.stack([match.partner for match in matches]),
            "product": torch.stack([match.product for match in matches]),
        }

    def cost(self, rates: Rates) -> Estimate:
        n, many = self.kernels[0].data.n_train, len(self.kernels)
        each = self.spectra[0].cost(rates)
        return Estimate(many * (1 + GROUPS) * each.seconds, 16.0 * many * n**2 + (each.bytes if self.leading else 0))

    def in_words(self) -> str:
        first, nets = self.kernels[0], [str(kernel.net.build()) for kernel in self.kernels]
        return ", ".join(
            [data_in_words(first.data, first.inputs), *nets, *unusual(self, "top"), *leading_in_words(self.leading)]
        )

    def experiment_fields(self) -> dict[str, Any]:
        return self.spectra[0].experiment_fields()


def _arrays_of(agreed: Agreement) -> Arrays:
    """Fields by their names; of a band ``name``, ``name_low`` and ``name_high``, too."""
    own = (field.name for field in fields(agreed) if field.name not in BANDS)
    found: Arrays = {name: np.asarray(getattr(agreed, name)) for name in own}
    for name in BANDS:
        band = getattr(agreed, name)
        found |= {name: band.mean, f"{name}_low": band.low, f"{name}_high": band.high}
    return found


def read_agreement(arrays: Mapping[str, Tensor | np.ndarray]) -> Agreement:
    """The stage's arrays as they were made by ``agreement``."""
    found = {name: np.asarray(value) for name, value in arrays.items()}
    values: dict[str, Any] = {field.name: found[field.name] for field in fields(Agreement)} | {"n": int(found["n"])}
    for name in BANDS:
        values[name] = Band(found[name], found[f"{name}_low"], found[f"{name}_high"])
    return Agreement(**values)
