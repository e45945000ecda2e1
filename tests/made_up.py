"""A sweep whose features are right, and stay right, on chosen shares of the images."""

import torch

from ntkcore.analysis.attacks.attack import fgsm
from ntkcore.analysis.features.eigenfeatures import Sweep
from ntkcore.analysis.spectrum import Spectrum

M = 200


def made_up(rho, kept, m=M) -> Sweep:
    """Features right on the share rho of each class, and on kept of that under attack."""
    labels = torch.arange(m) % 2
    place = torch.arange(m) // 2  # of each image in its class
    hits = torch.as_tensor(rho) * m / 2
    before = place[:, None] < hits
    after = before & (place[:, None] < hits * torch.as_tensor(kept))
    answers = torch.where(before, labels[:, None], 1 - labels[:, None])
    features = Spectrum(torch.ones(len(rho)), torch.eye(len(rho)))
    return Sweep(features, fgsm(), answers, labels, before, after, torch.zeros_like(before))
