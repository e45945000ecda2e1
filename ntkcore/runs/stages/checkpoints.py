"""Nets out of the checkpoints that the store has of them.

::

    net = load_checkpoint(EpochSpec.at(run, 20), context)      # FiniteNet: x -> [m, c]
"""

import torch
from torch import Tensor

from ntkcore.architectures import build
from ntkcore.kernels import input_map
from ntkcore.runs import specs
from ntkcore.runs.stages.context import Arrays, Context
from ntkcore.training import FiniteNet, Linearised, finite_net

WEIGHT, MOMENTUM = "weight.", "momentum."  # how the names of arrays of a checkpoint begin


def load_checkpoint(spec: specs.EpochSpec, context: Context, share: tuple[float, float] = (0.0, 1.0)) -> FiniteNet:
    """The net of a checkpoint, in evaluation mode."""
    return restored(spec.run, context.get(spec, share).arrays, context)


def fresh(run: specs.RunSpec, context: Context) -> FiniteNet:
    """The net of a run before any training, in evaluation mode."""
    task = context.task(run.data)
    outputs = task.y_train.shape[1]
    if isinstance(run.net, specs.TwinNet):
        form = run.net.parameterisation
        module = run.net.net.build().module(task.image_shape, run.net.width, outputs, run.seed, parameterisation=form)
    else:
        module = build(run.net.name, task.image_shape, outputs, run.seed, run.net.init)
    module = module.to(context.put(torch.zeros(())).device, memory_format=torch.channels_last)  # a fifth faster
    return finite_net(module.eval(), input_map(run.inputs, task.x_train))


def restored(run: specs.RunSpec, arrays: Arrays, context: Context) -> FiniteNet:
    """A net with the weights of a checkpoint; of a linearised run, around those of the epoch it was frozen after."""
    net = fresh(run, context)
    weights = {name: context.put(value) for name, value in named_arrays(arrays, WEIGHT).items()}
    if run.linear_from is None:
        net.module.load_state_dict(weights)
        return net
    anchor = context.get(specs.EpochSpec.at(run, run.linear_from), (0.0, 0.0)).arrays
    net.module.load_state_dict({name: context.put(value) for name, value in named_arrays(anchor, WEIGHT).items()})
    linear = Linearised(net.module)
    linear.move(weights)
    return FiniteNet(linear.eval(), net.inputs)


def named_arrays(arrays: Arrays, prefix: str) -> dict[str, Tensor]:
    """The arrays whose names begin so, without that."""
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
