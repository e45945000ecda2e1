"""Reference eigenfeatures on CIFAR-10 airplane (-1) / automobile (+1), written to `cifar_airplane_automobile.npz`.

The demonstration of Tsilivis and Kempe (NeurIPS 2022, arXiv 2210.05577) with neural-tangents instead of ntkcore, in
float64: NTK of FC(1) with W_std = sqrt 2, b_std = 0.1, pixels in [0, 1] without normalisation, the first 2000
training and the first 100 test images of the two classes in the set's own order, t = inf, no ridge. Features
f^(i)(x) = lam_i^-1 K(x, X) v_i v_i^T Y, index 0 = largest eigenvalue, from an eigendecomposition of K itself.

    python tests/reference/make_cifar_airplane_automobile.py FOLDER    # the folder that holds cifar-10-batches-py

Environment as in make_neural_tangents.py. Written (m = 100 test images, F features, n = 2000):
    meta                            JSON: the settings and the SHA-256 of the uint8 images, [n, 3, 32, 32] in C order
    y_train, y_test                 labels -1 / +1                                                   int8 [n], [m]
    eigenvalues                     of K(X, X), descending                                           float64 [n]
    indices                         which features follow                                            int64 [F]
    clean, fgsm                     f^(i) at the images and at their own FGSM images                 float64 [m, F]
    clean_right, fgsm_right         whether the sign is the label                                    bool [m, F]
    whole_clean, whole_fgsm, whole_pgd, and the same with _right: the sum of all features            [m]
FGSM: x' = clip(x + eps sign grad L, 0, 1), L = log(1 + exp(-y f)), eps = 8/255, true labels. PGD: 10 such steps of
0.01 from x, each projected onto the eps-ball and clipped. `fgsm` near 0 may change sign with the implementation:
where a pixel's gradient is almost 0 its sign is a matter of rounding. Compare values first, then signs.
"""

import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import jax
import jax.numpy as jnp
import numpy as np
from neural_tangents import stax

OUT = Path(__file__).with_name("cifar_airplane_automobile.npz")
N_TRAIN, N_TEST = 2000, 100
W_STD, B_STD = 2**0.5, 0.1
EPS, PGD_STEPS, PGD_STEP_SIZE = 8 / 255, 10, 0.01
INDICES = (
    *range(11),
    15,
    20,
    25,
    30,
    40,
    50,
    75,
    100,
    150,
    200,
    300,
    400,
    500,
    700,
    1000,
    1250,
    1500,
    1750,
    1900,
)
INDICES += (1990, 1999)


def read_two_classes(folder, names, count):
    """The first images of classes 0 and 1 in file order: uint8 [count, 3, 32, 32], labels -1 / +1 [count]."""
    batches = [pickle.loads((folder / name).read_bytes(), encoding="latin1") for name in names]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches])
    chosen = np.flatnonzero(labels < 2)[:count]
    return images[chosen], (2 * labels[chosen] - 1).astype(np.int8)


def main(root):
    folder = Path(root) / "cifar-10-batches-py"
    train, y_train = read_two_classes(folder, [f"data_batch_{i}" for i in range(1, 6)], N_TRAIN)
    test, y_test = read_two_classes(folder, ["test_batch"], N_TEST)
    X, x = train.reshape(N_TRAIN, -1) / 255, test.reshape(N_TEST, -1) / 255
    y = y_test.astype(float)

    dense = stax.Dense(1, W_std=W_STD, b_std=B_STD)
    kernel_fn = stax.serial(dense, stax.Relu(), dense)[2]
    K = np.array(kernel_fn(X, None, "ntk"))
    # At x = x' the angle is 0. Rounding makes it about 1e-8, and that moves the smallest eigenvalues by 1e-6.
    np.fill_diagonal(K, W_STD**2 * (W_STD**2 * (X**2).mean(1) + B_STD**2) + B_STD**2)
    values, vectors = np.linalg.eigh(K)
    values, vectors = values[::-1], vectors[:, ::-1]
    alpha = vectors * (vectors.T @ y_train) / values  # [n, n], a column per feature
    weights = np.column_stack([alpha[:, INDICES], alpha.sum(1)])  # [n, F + 1], the whole kernel last

    def predict(x, w):
        return kernel_fn(x, X, "ntk") @ w

    loss_gradient = jax.jit(jax.grad(lambda x, w: jnp.logaddexp(0, -y * predict(x, w)).sum()))
    at = jax.jit(predict)

    def fgsm(x, w, eps):
        return np.clip(x + eps * np.sign(loss_gradient(x, w)), 0, 1)

    clean = np.asarray(at(x, weights))
    attacked = np.column_stack([at(fgsm(x, w, EPS), w) for w in weights.T])
    x_pgd = x
    for _ in range(PGD_STEPS):
        x_pgd = np.clip(fgsm(x_pgd, weights[:, -1], PGD_STEP_SIZE), x - EPS, x + EPS)
    pgd = np.asarray(at(x_pgd, weights[:, -1]))

    arrays = {"clean": clean[:, :-1], "fgsm": attacked[:, :-1]}
    arrays |= {"whole_clean": clean[:, -1], "whole_fgsm": attacked[:, -1], "whole_pgd": pgd}
    arrays |= {f"{name}_right": a * (y if a.ndim == 1 else y[:, None]) > 0 for name, a in arrays.items()}
    meta = {
        "dataset": "cifar10",
        "classes": ["airplane", "automobile"],
        "n_train": N_TRAIN,
        "n_test": N_TEST,
        "family": "fc",
        "depth": 1,
        "W_std": W_STD,
        "b_std": B_STD,
        "eps": EPS,
        "pgd_steps": PGD_STEPS,
        "pgd_step_size": PGD_STEP_SIZE,
        "train_sha256": hashlib.sha256(train.tobytes()).hexdigest(),
        "test_sha256": hashlib.sha256(test.tobytes()).hexdigest(),
    }
    np.savez_compressed(
        OUT,
        meta=np.array(json.dumps(meta)),
        y_train=y_train,
        y_test=y_test,
        eigenvalues=values,
        indices=np.array(INDICES),
        **arrays,
    )
    for name in ("whole_clean", "whole_fgsm", "whole_pgd"):
        print(f"{name:12} {arrays[f'{name}_right'].mean():.2f}")
    for index, useful, robust in zip(INDICES, arrays["clean_right"].T, arrays["fgsm_right"].T, strict=True):
        print(f"{index:5} lam {values[index]:10.4g}  usefulness {useful.mean():.2f}  robustness {robust.mean():.2f}")
    print(f"{OUT.name}: {OUT.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
