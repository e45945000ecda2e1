"""How much work kernels and nets are, counted, and what it takes on a machine of some rates: for ``StageSpec.cost``.

Work is counted as matrix products, activations and convolutions per pair of images, and eigenvectors; a forward pass
of a net as the operations of its products, a backward pass as two of them::

    size = KernelSize.of(spec.data, spec.net)
    Estimate(pairs * size.pair(rates, double=True), bytes=8.0 * n * n)
    passes(NetSize.of_twin(net, width=512, data=spec.data), rates, flops=3e9)
"""

from dataclasses import dataclass
from functools import lru_cache

from ntkcore import data, nets
from ntkcore.analysis.attacks.attack import Attack
from ntkcore.data import DataSpec
from ntkcore.runs.rates import Rates
from ntkcore.runs.stages.nets import NamedNet, NetSpec, RunSpec, TwinNet


@dataclass(frozen=True)
class Estimate:
    """seconds of work on this machine; bytes of memory at the peak."""

    seconds: float
    bytes: float

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.seconds + other.seconds, max(self.bytes, other.bytes))


NOTHING = Estimate(0.0, 0.0)
LEAST_MEMORY = 2e8  # bytes of working space, whatever the size
NET_SLOWER = 1.6  # a training step's products are smaller than the measured one, and it does more than products
PLANE32, PLANE64 = 0.28, 0.4  # a number in the compiled loops, as a share of one through the recursion's ReLU
SIGN_STEP, SIGN_LAYER = 0.8, 0.45  # a number of a sign step by an expansion, and for each ReLU, in the same share
SIGN_BEGIN = 4e-4  # seconds for each test image, before any predictor
MIXED = 5  # products of all features that such a sweep begins with
DENSE_GRADIENT = 0.35  # of a dense net's recursion: values without gradients take the compiled loops
POOLED = 2.5  # gradients through pooled covariances take so many times what is counted (Myrtle-5, 7x7 to 28x28)
GRADIENT_PAIRS, COPIES = 12, 8  # such a gradient holds the covariances of so many image pairs, each so many times
GRADIENT_ROOM = 3e8  # bytes, at least: gradients are taken in chunks of 256 MB
KEPT = 1.5  # times the activations: what a training step keeps, and the libraries beside it
OVERHEAD = 5e-3  # seconds of small operations for one image's attack, whatever its size
LINEAR = 4.0  # times a net's own pass: values and derivatives, forward and backward


@lru_cache(1024)
def outputs_of(spec: DataSpec) -> int:
    """Outputs of a predictor: one for two classes."""
    classes = len(spec.classes or data.info(spec).classes)  # own data may leave them open
    return 1 if classes == 2 else classes


# -- infinite nets ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KernelSize:
    """The numbers that the cost of a kernel depends on."""

    n: int
    m: int
    pixels: int
    outputs: int
    activations: float
    convolutions: float
    loops: bool  # compiled ones, where no gradient is wanted
    dense: bool
    pooled: int  # numbers of a covariance of all pairs of pixels; 0 for nets without pooling

    @classmethod
    @lru_cache(1024)
    def of(cls, spec: DataSpec, net: NetSpec) -> "KernelSize":
        channels, height, width = data.image_shape(spec)
        built = net.build()
        activations, convolutions = _covariances(built, height, width)
        return cls(
            spec.n_train,
            spec.n_test,
            channels * height * width,
            outputs_of(spec),
            activations,
            convolutions,
            _by_loops(built),
            built.flat_input,
            (height * width) ** 2 if built.spatial_pairs else 0,
        )

    def pair(self, rates: Rates, double: bool) -> float:
        """Seconds per image pair of a kernel block."""
        if not self.loops:
            return self.recursion(rates, double)
        relu = PLANE64 * rates.relu64 if double else PLANE32 * rates.relu32
        if self.dense:
            return 2 * self.pixels * (rates.flop64 if double else rates.flop32) + self.activations * relu
        return (self.activations + self.convolutions / 2) * relu / 2

    def recursion(self, rates: Rates, double: bool) -> float:
        """The same by whole covariances from layer to layer, as gradients need it: forward alone."""
        flop, relu, box = (
            (rates.flop64, rates.relu64, rates.box64) if double else (rates.flop32, rates.relu32, rates.box32)
        )
        return 2 * self.pixels * flop + self.activations * relu + self.convolutions * box

    def gradient_bytes(self) -> float:
        """Working memory of gradients in the images."""
        return max(GRADIENT_ROOM, GRADIENT_PAIRS * COPIES * 8.0 * self.pooled)

    def attack(self, predictors: int, attack: Attack, rates: Rates, values: int = 1, double: bool = False) -> float:
        """Seconds per test image to attack ``predictors`` columns: shared gradient, then one block a step; values: that
        a predictor has before its readout."""
        pairs, steps = predictors * self.n, attack.steps
        if self.by_signs(attack, values):
            return SIGN_BEGIN + self._by_signs(predictors, rates)
        images = 30 * predictors * self.pixels * rates.box32  # steps and projections: passes over the images
        shared = 3 * self.n * self.recursion(rates, double) + 2 * pairs * self.pixels * rates.flop32 + steps * images
        later = (steps - 1) * 3 * pairs * self.recursion(rates, False)
        return shared + later + pairs * self.pair(rates, False)

    def by_signs(self, attack: Attack, values: int) -> bool:
        """Whether predictors are attacked by an expansion around each test image."""
        once = values == 1 and attack.norm == "linf" and attack.one_step
        return self.loops and self.dense and once

    def _by_signs(self, predictors: int, rates: Rates) -> float:
        """The same by such an expansion: only where a predictor is right."""
        right = predictors * (0.55 if self.outputs == 1 else 2 / self.outputs)
        numbers = (self.pixels + 2 * self.n) * (SIGN_STEP + SIGN_LAYER * self.activations)
        mixed = 2 * MIXED * predictors * self.n * self.pixels / self.m
        return right * numbers * rates.relu32 + mixed * rates.flop32


def _covariances(net: nets.Net, height: int, width: int) -> tuple[float, float]:
    """Covariance entries per image pair that pass an activation, and that pass a 3x3 box (k and t both)."""
    power = 2 if net.spatial_pairs else 1
    positions = 1 if net.flat_input else height * width
    activations = convolutions = 0.0
    for layer in net.covariance_layers():
        if isinstance(layer, nets.Activation):
            activations += positions**power
        elif isinstance(layer, nets.Conv):
            convolutions += 2 * positions**power
        elif isinstance(layer, nets.AvgPool):
            height, width = height // 2, width // 2
            positions = height * width
        elif isinstance(layer, nets.Flatten | nets.GlobalAvgPool):
            positions = 1
    return activations, convolutions


def _by_loops(net: nets.Net) -> bool:
    from ntkcore.kernels.infinite.relu_nets import compiled  # here, because numba takes half a second

    return compiled(net)


# -- finite nets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetSize:
    """A finite net: operations of one forward pass per image (in all, of the first layer), numbers kept per image,
    weights."""

    flops: float
    first: float
    activations: float
    weights: float

    @classmethod
    def of_run(cls, run: RunSpec) -> "NetSize":
        """The net of a run."""
        net = run.net
        return cls.of_twin(net.net, net.width, run.data) if isinstance(net, TwinNet) else cls.of_named(net, run.data)

    @classmethod
    @lru_cache(1024)
    def of_named(cls, net: NamedNet, spec: DataSpec) -> "NetSize":
        """One of ``ntkcore.architectures``."""
        _, height, width = data.image_shape(spec)
        pixels = height * width
        flops, kept, fixed, dense = {  # per pixel, and weights: those of the convolutions, those that grow along
            "cnn-small": (1.3e4, 160, 1.9e4, 1024),
            "cnn-large": (1.5e5, 290, 2.9e5, 8 * outputs_of(spec)),
            "resnet18": (1.1e6, 700, 1.12e7, 0),
        }[net.name]
        return cls(flops * pixels, 0.0, kept * pixels, fixed + dense * pixels)

    @classmethod
    @lru_cache(1024)
    def of_twin(cls, net: NetSpec, width: int, spec: DataSpec) -> "NetSize":
        """The finite twin of an infinite net."""
        inputs, rows, columns = data.image_shape(spec)
        flops, kept, weights, positions = [], 0.0, 0.0, rows * columns
        layers = net.build().layers
        last = max(i for i, layer in enumerate(layers) if isinstance(layer, nets.Dense | nets.Conv))
        for i, layer in enumerate(layers):
            if isinstance(layer, nets.Flatten | nets.GlobalAvgPool):
                inputs = inputs * positions if isinstance(layer, nets.Flatten) else inputs
                positions = 1
            elif isinstance(layer, nets.AvgPool):
                positions //= 4
            elif isinstance(layer, nets.Dense | nets.Conv):
                taps = 9 if isinstance(layer, nets.Conv) else 1
                wide = outputs_of(spec) if i == last else width
                flops.append(2.0 * taps * inputs * wide * positions)
                weights += taps * inputs * wide
                inputs = wide
                kept += 2.0 * wide * positions
        return cls(sum(flops), flops[0], kept, weights)

    def bytes(self, images: int) -> float:
        return 4.0 * (2 * KEPT * self.activations * images + 5 * self.weights) + LEAST_MEMORY


def passes(net: NetSize, rates: Rates, flops: float, cubed: float = 0.0, more: float = 0.0) -> Estimate:
    """An Estimate of operations in single precision and n^3 of eigendecompositions (``cubed``), with a net that sees
    100 images at a time; more: bytes beside the net's own."""
    seconds = flops * rates.flop32 * NET_SLOWER + cubed * rates.eigh
    return Estimate(seconds + OVERHEAD, net.bytes(100) + more)
