"""The stage that compares the eigenfeatures of several architectures on the same images.

::

    artifact = result(ConsistencySpec(sweeps=(fc.sweep(), conv.sweep())), store)
    artifact.arrays["alignment"]                 # [A, A]
"""

from itertools import combinations

import numpy as np
import torch

from ntkcore.analysis.consistency import (
    alignment_matrix,
    feature_gradients,
    match_features,
    matched_gradient_cosine,
    subspace_overlap,
    vector_overlap,
)
from ntkcore.analysis.tradeoff import counts
from ntkcore.runs import specs
from ntkcore.runs.stages.context import Arrays, Context, stage
from ntkcore.runs.stages.kernels import parts_of

IMAGES = 20  # test images at which the gradients of matched features are compared


@stage("consistency")
def _consistency(spec: specs.ConsistencySpec, context: Context) -> Arrays:
    """Alignments [A, A]; overlaps [pairs, P] along ks [P]; |<v_i, v_j>|, partners and cosines of each pair."""
    many = len(spec.sweeps)
    shares = np.linspace(0.0, 0.6, many + 1)
    for low, high, sweep in zip(shares, shares[1:], spec.sweeps, strict=False):
        context.get(sweep, (float(low), float(high)))
    parts = [parts_of(sweep.kernel, context, (0.6, 0.6)) for sweep in spec.sweeps]
    kernels = [context.get(sweep.kernel, (0.6, 0.6)).arrays["K"] for sweep in spec.sweeps]
    task = context.task(spec.sweeps[0].kernel.data)
    top = min(spec.top, *(p.s.rank for p in parts))
    y, labels = context.put(task.y_train), context.put(task.y_test[:IMAGES])
    shares = np.linspace(0.6, 1.0, many + 1)
    gradients = [
        feature_gradients(
            p.kernel, p.s, p.x, y, p.x_test[:IMAGES], labels, range(top), context.report((float(low), float(high)))
        )
        for p, low, high in zip(parts, shares, shares[1:], strict=False)
    ]
    pairs = list(combinations(range(many), 2))
    vectors = [p.s.vectors for p in parts]
    ks = counts(min(task.n, *(p.s.rank for p in parts)))
    partner = [match_features(vectors[a], vectors[b], top) for a, b in pairs]
    return {
        "alignment": alignment_matrix(kernels, centred=True),
        "alignment_uncentred": alignment_matrix(kernels, centred=False),
        "ks": np.array(ks),
        "overlap": torch.stack([subspace_overlap(vectors[a], vectors[b], ks) for a, b in pairs]),
        "vectors": torch.stack([vector_overlap(vectors[a], vectors[b], top) for a, b in pairs]),
        "partner": torch.stack(partner),
        "cosine": torch.stack(
            [matched_gradient_cosine(gradients[a], gradients[b], p) for (a, b), p in zip(pairs, partner, strict=True)]
        ),
    }
