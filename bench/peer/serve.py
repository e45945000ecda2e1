"""Kernels by neural-tangents, timed on request: run by the peer environment's Python, one JSON object a line.

Asked {"net": "fc" | "conv" | "myrtle", "depth": 5, "shape": [C, H, W], "n": 8} it builds the kernel (float32, jit),
calls it once on noise of 256 levels (numpy default_rng(0), [n, C, H, W]) and answers {"corner": [..]}, the kernel of
the first image with the first three. Asked {"call": true} it calls it again and answers {"seconds": 0.8}, results
waited for.

Asked {"net": .., "depth": .., "features": folder} it loads x_train, x_test [., C, H, W], y_test [m], weights [F, n]
and signs [F] from .npy files there, compiles one feature's sweep as the paper's notebook does it (predict, gradient of
the loss at the test images, a sign step of eps, predict again) and answers {"ready": true}; then {"feature": 7} runs it
for that feature: {"seconds": 0.09, "right": 58, "robust": 39}.

Asked {"empirical": folder, "layers": ["conv", "relu", "flatten", "dense", ..], "way": "JACOBIAN_CONTRACTION"} it loads
x [n, C, H, W] and weights 0, 1, .. of the layers in turn from .npy files there, writes the full empirical kernel
[n, n, c, c] of that net as theta.npy and answers {"ready": true}, or {"failed": why} where its memory does not do;
{"call": true} computes it again.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax
import neural_tangents as nt
import numpy as np
from jax import lax
from jax._src import source_info_util
from jax.interpreters import ad
from neural_tangents import stax

ad.config, ad.source_info_util = jax.config, source_info_util  # where its structured derivatives look for them

BLOCKS = {5: (1, 1, 1), 7: (1, 2, 2), 10: (2, 3, 3)}
SCALES = {"W_std": 2**0.5, "b_std": 0.1}


def kernel_fn(family: str, depth: int):
    """The families of ``ntkcore.nets`` with its default scales; images are NHWC."""
    dense = stax.Dense(1, **SCALES)
    conv, relu = stax.Conv(1, (3, 3), padding="SAME", **SCALES), stax.Relu()
    if family == "fc":
        layers = [stax.Flatten(), *[dense, relu] * depth]
    elif family == "conv":
        layers = [*[conv, relu] * depth, stax.Flatten()]
    else:
        pool = stax.AvgPool((2, 2), strides=(2, 2))
        first, second, third = BLOCKS[depth]
        layers = [conv, relu, *[conv, relu] * first, pool, *[conv, relu] * second, pool, *[conv, relu] * third]
        layers.append(stax.GlobalAvgPool())
    return jax.jit(stax.serial(*layers, dense)[2], static_argnames="get")


def feature_sweep(family: str, depth: int, folder: str):
    """A function of a feature's number -> how many test images it has right, and right after its own FGSM step."""
    data = {name: np.load(f"{folder}/{name}.npy") for name in ("x_train", "x_test", "y_test", "weights", "signs")}
    train, test = (jax.numpy.asarray(np.moveaxis(data[name], 1, -1)) for name in ("x_train", "x_test"))
    y, eps = jax.numpy.asarray(data["y_test"]), 8 / 255
    function = kernel_fn(family, depth)

    @jax.jit
    def sweep(weights, sign):
        def outputs(x):
            return sign * (function(x, train, get="ntk") @ weights)

        def loss(x):
            return jax.numpy.logaddexp(0.0, -y * outputs(x)).sum()

        before = y * outputs(test) > 0
        attacked = jax.numpy.clip(test + eps * jax.numpy.sign(jax.grad(loss)(test)), 0, 1)
        return before.sum(), (before & (y * outputs(attacked) > 0)).sum()

    return lambda number: [int(count) for count in sweep(data["weights"][number], data["signs"][number])]


def empirical_fn(layers: list[str], way: str):
    """(x [n, C, H, W], weights) -> [n, n, c, c]; weights as torch has them."""

    def forward(weights, x):
        left = iter(weights)
        for layer in layers:
            if layer == "conv":
                w, b = next(left), next(left)
                x = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
                x = x + b[:, None, None]
            elif layer == "dense":
                w, b = next(left), next(left)
                x = x @ w.T + b
            elif layer == "relu":
                x = jax.nn.relu(x)
            elif layer == "flatten":
                x = x.reshape(len(x), -1)
            elif layer == "avgpool":
                x = lax.reduce_window(x, 0.0, lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
            else:
                x = lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        return x

    implementation = nt.NtkImplementation[way]
    kernel = nt.empirical_ntk_fn(forward, trace_axes=(), vmap_axes=0, implementation=implementation)
    return jax.jit(lambda x, weights: kernel(x, None, weights))


def main() -> None:
    call = sweep = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "call" in asked:
            start = time.perf_counter()
            call()
            answer = {"seconds": time.perf_counter() - start}
        elif "empirical" in asked:
            folder = asked["empirical"]
            count = 2 * sum(layer in ("conv", "dense") for layer in asked["layers"])
            weights = [jax.numpy.asarray(np.load(f"{folder}/{k}.npy")) for k in range(count)]
            x = jax.numpy.asarray(np.load(f"{folder}/x.npy"))
            function = empirical_fn(asked["layers"], asked["way"])

            def call(function=function, x=x, weights=weights) -> jax.Array:
                return function(x, weights).block_until_ready()

            try:
                np.save(f"{folder}/theta.npy", np.asarray(call()))
                answer = {"ready": True}
            except (MemoryError, RuntimeError) as error:
                answer = {"failed": str(error) or type(error).__name__}
        elif "features" in asked:
            sweep = feature_sweep(asked["net"], asked["depth"], asked["features"])
            sweep(0)
            answer = {"ready": True}
        elif "feature" in asked:
            start = time.perf_counter()
            right, robust = sweep(asked["feature"])
            answer = {"seconds": time.perf_counter() - start, "right": right, "robust": robust}
        else:
            channels, height, width = asked["shape"]
            x = np.random.default_rng(0).integers(0, 256, (asked["n"], channels, height, width)).astype(np.float32)
            x /= np.float32(255)
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
            function = kernel_fn(asked["net"], asked["depth"])

            def call(function=function, x=x) -> jax.Array:
                return function(x, None, get="ntk").block_until_ready()

            answer = {"corner": call()[0, :3].tolist()}
        print(json.dumps(answer), flush=True)


main()
