"""Reference kernels and input gradients from neural-tangents, written to `neural_tangents.npz`.

The closed-form kernels of ntkcore are compared with an independent implementation: neural-tangents 0.6.5
(Novak et al. 2020, arXiv 1912.02803). It needs an old jax, so it runs in an environment of its own and only
its numbers are kept here:

    python -m venv nt && nt/bin/pip install neural-tangents "jax==0.4.30" "jaxlib==0.4.30" "numpy<2" \\
        "scipy<1.13" "tensorflow==2.16.2"
    nt/bin/python tests/reference/make_neural_tangents.py        # about 15 minutes on one core

Images (float64 in [0, 1], NCHW; n1 images in x1, n2 in x2):
    <images>/x1, <images>/x2        `rgb`: [3, 3, 8, 8] and [3, 3, 8, 8]; `grey`: [4, 1, 8, 4] and [4, 1, 8, 4].
                                    x1[1] and x2[2] have a block of zeros, x1[2] == x2[1];
                                    in `grey` x1[3] == x2[3] == 0
    <images>/c_cross, c_square      the fixed coefficients C, [n1, n2] and [n1, n1].
For each case (`cases` is a JSON list; `id` is the prefix) and kernel = nngp | ntk:
    <id>/<kernel>_square            K(x1, x1)                                                [n1, n1]
    <id>/<kernel>_cross             K(x1, x2)                                                [n1, n2]
    <id>/<kernel>_cross_grad        d/dx1 sum_ij C_ij K(x1_i, x2_j)                          [n1, C, H, W]
    <id>/<kernel>_square_grad       the same with x2 = a constant copy of x1: x = x' on the diagonal
    <id>/grad_mask                  bool [n1, C, H, W]: where that gradient exists
In a case, all relative to the largest entry of the array:
    rounding                        change of each array when the images are mirrored: its own float64 noise
    difference                      each gradient against central differences, at 16 pixels, inside the mask:
                                    the worst pixel, with the better of two steps. Where b dominates a deep net
                                    the float64 differences are the poor side of that comparison

The NTK of a ReLU network has a cone at x = x' (it falls off like |x - x'|), and so has every ReLU kernel where
a patch is entirely zero and b = 0. The gradient meant there is the symmetric derivative, the limit of central
differences: the cone contributes nothing. neural-tangents gives it: at x = x' because the derivative of the
square root is taken as 0 at 0, at a zero patch because the angle for a zero variance is pi/2. Two ReLU layers
with zero variance above one another (b = 0) have no gradient, not even a symmetric one; `grad_mask` is False
only there. At x = x' the NTK carries the square root of the rounding of K(x,x) K(x',x') - K(x,x')²: about 1e-9
of its size, not 1e-16.
"""

import functools
import json
import os
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax
import jax.numpy as jnp
import numpy as np
from neural_tangents import stax

OUT = Path(__file__).with_name("neural_tangents.npz")
SEED = 20221031
MYRTLE_BLOCKS = {5: (1, 1, 1), 7: (1, 2, 2), 10: (2, 3, 3)}
ACTIVATIONS = {"relu": stax.Relu, "erf": stax.Erf}  # stax.Erf(a=1, b=1, c=0) is the plain erf(x)
SETTINGS = ((2**0.5, 0.1, "rgb"), (1.3, 0.0, "grey"), (1.0, 0.5, "grey"))  # W_std, b_std, images
NETS = (
    *(("fc", depth, "relu") for depth in (1, 3, 5)),
    *(("conv", depth, "relu") for depth in (2, 4)),
    *(("myrtle", depth, "relu") for depth in (5, 7, 10)),
    *(("fc", depth, "erf") for depth in (1, 3)),
    ("conv", 2, "erf"),
)
STEPS = (2e-3, 3e-2)  # in pixel units: the first suffers from rounding, the second from curvature


def network_kernel(family, depth, activation, W_std, b_std):
    """`kernel_fn(x1, x2, get)` of one family on NCHW images (neural-tangents expects NHWC)."""

    def dense():
        return stax.Dense(1, W_std=W_std, b_std=b_std)

    def hidden(layer, count):
        return [layer, ACTIVATIONS[activation]()] * count

    conv = stax.Conv(1, (3, 3), padding="SAME", W_std=W_std, b_std=b_std)
    pool = stax.AvgPool((2, 2), strides=(2, 2))
    if family == "fc":
        layers = [stax.Flatten(), *hidden(dense(), depth)]
    elif family == "conv":
        layers = [*hidden(conv, depth), stax.Flatten()]
    else:
        first, second, third = MYRTLE_BLOCKS[depth]
        layers = [*hidden(conv, 1 + first), pool, *hidden(conv, second), pool, *hidden(conv, third)]
        layers += [stax.GlobalAvgPool()]
    kernel_fn = stax.serial(*layers, dense())[2]

    def on_nchw(x1, x2, get):
        x2 = None if x2 is None else jnp.moveaxis(x2, 1, -1)
        return kernel_fn(jnp.moveaxis(x1, 1, -1), x2, get)

    return on_nchw


def make_images(rng):
    """The two image sets and their coefficients, as a dictionary of arrays."""
    arrays = {}
    for name, shape, block in (
        ("rgb", (3, 3, 8, 8), np.s_[:, 3:, :5]),
        ("grey", (4, 1, 8, 4), np.s_[:, 3:, :]),
    ):
        x1, x2 = rng.uniform(size=shape), rng.uniform(size=shape)
        x1[1][block] = 0
        x2[2][:, 2:7] = 0
        x2[1] = x1[2]
        if name == "grey":
            x1[3] = x2[3] = 0
        arrays |= {f"{name}/x1": x1, f"{name}/x2": x2}
        arrays[f"{name}/c_cross"] = rng.normal(size=(len(x1), len(x2)))
        arrays[f"{name}/c_square"] = rng.normal(size=(len(x1), len(x1)))
    return arrays


def dilate(region):
    """Each pixel or any of its eight neighbours, [n, H, W] bool; outside the image is False."""
    padded = np.pad(region, ((0, 0), (1, 1), (1, 1)))
    height, width = region.shape[1:]
    return np.any([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)


def gradient_mask(family, depth, activation, b_std, x):
    """False at the pixels seen by two ReLU layers of zero variance, one above the other; [n, C, H, W]."""
    if activation != "relu" or b_std != 0 or depth < 2:
        return np.ones(x.shape, bool)
    zero = (x == 0).all(1)
    if family == "fc":
        seen = np.broadcast_to(zero.all((1, 2))[:, None, None], zero.shape)
    else:
        seen = dilate(dilate(~dilate(dilate(~zero))))  # the 5 x 5 patches that are zero altogether
    return np.broadcast_to(~seen[:, None], x.shape)


def weighted_rows(kernel_fn, get, coefficients, other, x):
    """`sum_j C_ij K(x_i, x2_j)`, [n1]; entry i depends on image i alone."""
    return (coefficients * kernel_fn(x, other, get)).sum(1)


def evaluate(kernel_fn, images):
    """The kernels and gradients of one case."""
    x1, x2 = images["x1"], images["x2"]
    arrays = {}
    for get in ("nngp", "ntk"):
        arrays[f"{get}_square"] = kernel_fn(x1, None, get)
        arrays[f"{get}_cross"] = kernel_fn(x1, x2, get)
        for name, other in (("cross", x2), ("square", x1.copy())):
            rows = functools.partial(weighted_rows, kernel_fn, get, images[f"c_{name}"])
            gradient = jax.jit(jax.grad(lambda x, x2, f=rows: f(x2, x).sum()))
            arrays[f"{get}_{name}_grad"] = gradient(x1, other)
    return {name: np.asarray(array) for name, array in arrays.items()}


def mirrored(images):
    return {name: a[..., ::-1] if name.startswith("x") else a for name, a in images.items()}


def central_differences(rows, x, pixels, step):
    """Derivative of `rows(x).sum()` by the given pixels of each image (flat index), [n, len(pixels)].

    Beside a cone a central difference can be off by O(step), not O(step²): the extrapolation removes both.
    """
    directions = np.eye(x[0].size)[pixels].reshape(-1, 1, *x.shape[1:])

    def quotient(h):
        return jax.lax.map(lambda e: (rows(x + h * e) - rows(x - h * e)) / (2 * h), directions).T

    return (quotient(step) - 6 * quotient(step / 2) + 8 * quotient(step / 4)) / 3


def difference(kernel_fn, images, values, mask, pixels):
    """Largest deviation of each gradient from central differences, inside the mask."""
    x1, found = images["x1"], {}
    for get in ("nngp", "ntk"):
        for name, other in (("cross", images["x2"]), ("square", x1.copy())):
            rows = functools.partial(weighted_rows, kernel_fn, get, images[f"c_{name}"], other)
            differences = jax.jit(lambda step, f=rows: central_differences(f, x1, pixels, step))
            gradient, inside = (a.reshape(len(x1), -1)[:, pixels] for a in (values[f"{get}_{name}_grad"], mask))
            worst = min(np.abs(gradient - differences(step))[inside].max() for step in STEPS)
            found[f"{get}_{name}_grad"] = worst / np.abs(values[f"{get}_{name}_grad"]).max()
    return found


def rounded(figures):
    return {name: float(f"{figure:.1e}") for name, figure in figures.items()}


def main():
    rng = np.random.default_rng(SEED)
    arrays = make_images(rng)
    cases = []
    for family, depth, activation in NETS:
        for W_std, b_std, images in SETTINGS:
            case = {"id": f"{family}{depth}-{activation}-W{W_std:.3g}-b{b_std:.3g}", "images": images}
            case |= {
                "family": family,
                "depth": depth,
                "activation": activation,
                "W_std": W_std,
                "b_std": b_std,
            }
            kernel_fn = network_kernel(family, depth, activation, W_std, b_std)
            inputs = {name: arrays[f"{images}/{name}"] for name in ("x1", "x2", "c_cross", "c_square")}
            values, twin = evaluate(kernel_fn, inputs), evaluate(kernel_fn, mirrored(inputs))
            mask = gradient_mask(family, depth, activation, b_std, inputs["x1"])
            noise = {}
            for name, value in values.items():
                other = twin[name][..., ::-1] * mask if name.endswith("grad") else twin[name]
                noise[name] = np.abs((value * mask if name.endswith("grad") else value) - other).max()
                noise[name] /= np.abs(value).max()
            pixels = rng.permutation(inputs["x1"][0].size)[:16]
            case["rounding"] = rounded(noise)
            case["difference"] = rounded(difference(kernel_fn, inputs, values, mask, pixels))
            cases.append(case)
            arrays |= {f"{case['id']}/{name}": value for name, value in values.items()}
            arrays[f"{case['id']}/grad_mask"] = mask
            worst = [max(case[name].values()) for name in ("rounding", "difference")]
            print(f"{case['id']:28} rounding {worst[0]:.0e}, difference {worst[1]:.0e}", flush=True)
    np.savez_compressed(OUT, cases=np.array(json.dumps(cases)), **arrays)
    print(f"{OUT.name}: {len(cases)} cases, {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
