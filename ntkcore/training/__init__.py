"""Training finite nets: by full-batch steps beside a kernel, or epoch by epoch, also on attacked images.

``steps`` follows a kernel predictor step by step (the lazy regime); ``epochs`` is stochastic gradient descent whose
checkpoints can be resumed, on clean images or on those an adversary makes of them; ``linearised`` is a net replaced by
its first-order expansion around the weights it has::

    for checkpoint in train(net, x, y, LAZY, unit=n / lam_max): ...
    for checkpoint in train_epochs(net, x, y, Schedule(), 20, adversary=...): ...
"""

from ntkcore.training.epochs import Adversary, EpochCheckpoint, Schedule, Start, train_epochs
from ntkcore.training.linearised import Linearised
from ntkcore.training.steps import (
    LAZY,
    PLAIN,
    Checkpoint,
    Descent,
    FiniteNet,
    Training,
    finite_net,
    train,
    training_loss,
)

__all__ = [
    "LAZY",
    "PLAIN",
    "Adversary",
    "Checkpoint",
    "Descent",
    "EpochCheckpoint",
    "FiniteNet",
    "Linearised",
    "Schedule",
    "Start",
    "Training",
    "finite_net",
    "train",
    "train_epochs",
    "training_loss",
]
