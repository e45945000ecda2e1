"""What a run will cost, said before it starts: seconds and memory, from counted work and measured rates.

Work is counted per stage (matrix products, activations and convolutions per image pair, eigenvectors) and divided
by this machine's ``rates``. Stages that are already in the store cost nothing::

    rates = calibrate(store.root)
    estimate(experiment.sweep(), rates, store)       # Estimate(seconds=5.2, bytes=3.1e8)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ntkcore import data, nets
from ntkcore.analysis.agreement import GROUPS
from ntkcore.analysis.attacks import Attack
from ntkcore.runs import costs_motion, specs
from ntkcore.runs.rates import Rates
from ntkcore.runs.store import Store


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
AUTO_PASSES = 2000  # forward passes of AutoAttack on an image, on average
PLANE32, PLANE64 = 0.28, 0.4  # a number in the compiled loops, as a share of one through the recursion's ReLU
SIGN_STEP, SIGN_LAYER = 0.8, 0.45  # a number of a sign step by an expansion, and for each ReLU, in the same share
SIGN_BEGIN = 4e-4  # seconds for each test image, before any predictor
MIXED = 5  # products of all features that such a sweep begins with
DENSE_GRADIENT = 0.35  # of a dense net's recursion: values without gradients take the compiled loops
ONE_STEP = Attack()
POOLED = 2.5  # gradients through pooled covariances take so many times what is counted (Myrtle-5, 7x7 to 28x28)
GRADIENT_PAIRS, COPIES = 12, 8  # such a gradient holds the covariances of so many image pairs, each so many times
GRADIENT_ROOM = 3e8  # bytes, at least: gradients are taken in chunks of 256 MB
KEPT = 1.5  # times the activations: what a training step keeps, and the libraries beside it
OVERHEAD = 5e-3  # seconds of small operations for one image's attack, whatever its size


def estimate(spec: specs.StageSpec, rates: Rates, store: Store) -> Estimate:
    """Cost of ``spec`` and of every input that is not in the store yet."""
    return estimate_all([spec], rates, store)[0]


def estimate_all(wanted: Sequence[specs.StageSpec], rates: Rates, store: Store) -> list[Estimate]:
    """What each of several specs adds when they are computed in this order: an input is counted once."""
    counted: set[str] = set()

    def add(node: _Node) -> Estimate:
        if node.name in counted or store.has(node.stage, node.name):
            return NOTHING
        counted.add(node.name)
        return sum(map(add, node.inputs), node.own + Estimate(0.0, LEAST_MEMORY))

    return [add(_node(spec, rates)) for spec in wanted]


@dataclass(frozen=True, eq=False)
class _Node:
    """A spec's place in the store, its own cost and its inputs."""

    stage: str
    name: str
    own: Estimate
    inputs: tuple["_Node", ...]


@lru_cache(16384)  # a page asks for the same again with every control that moves
def _node(spec: specs.StageSpec, rates: Rates) -> _Node:
    return _Node(
        spec.stage, specs.key(spec), _own(spec, rates), tuple(_node(before, rates) for before in _inputs(spec))
    )


def _inputs(spec: specs.StageSpec) -> list[specs.StageSpec]:
    if isinstance(spec, specs.KernelSpec):
        return [] if spec.checkpoint is None else [spec.checkpoint]
    if isinstance(spec, specs.MOTION):
        return costs_motion.inputs(spec)
    if isinstance(spec, specs.SpectrumSpec):
        return [spec.kernel]
    if isinstance(spec, specs.CurvesSpec | specs.PicturesSpec):
        return [spec.sweep]
    if isinstance(spec, specs.ConsistencySpec):
        return [specs.SpectrumSpec(kernel=kernel) for kernel in spec.kernels]
    if isinstance(spec, specs.PathSpec):
        return [specs.SpectrumSpec(kernel=spec.kernel)]
    if isinstance(spec, specs.TwinSpec | specs.NetworkSpec):
        return [specs.PathSpec.along(spec.comparable, (spec.comparable.descent.steps,))]
    if isinstance(spec, specs.PerturbSpec):
        return _model_inputs(spec.source)
    if isinstance(spec, specs.TransferSpec):
        return [*_model_inputs(spec.target), spec.perturb]
    return [specs.SpectrumSpec(kernel=spec.kernel)]


def _model_inputs(model: specs.Model | specs.Noise) -> list[specs.StageSpec]:
    if isinstance(model, specs.Noise):
        return []
    return [specs.SpectrumSpec(kernel=model.kernel)] if isinstance(model, specs.KernelModel) else [model]


def _own(spec: specs.StageSpec, rates: Rates) -> Estimate:
    if isinstance(spec, specs.MOTION):
        net = costs_motion.stand_in(specs.run_of(spec))
        size, passes = _Size.of(net.kernel), _NetSize.of(net)
        return _timed(
            costs_motion.work(spec, size.n, size.m, size.outputs, passes.flops, passes.weights), passes, rates
        )
    if isinstance(spec, specs.TwinSpec | specs.NetworkSpec | specs.PerturbSpec | specs.TransferSpec):
        return _of_nets(spec, rates)
    if isinstance(spec, specs.ConsistencySpec):
        n, many = spec.kernels[0].data.n_train, len(spec.kernels)
        return Estimate(many * (1 + GROUPS) * rates.eigh * n**3, 16.0 * many * n**2)
    if isinstance(spec, specs.GradientsSpec):
        size = _Size.of(spec.kernel)
        each = 3 * size.n * size.recursion(rates, spec.kernel.precision == "float64") * (POOLED if size.pooled else 1)
        return Estimate(min(spec.images, size.m) * (each + OVERHEAD), size.gradient_bytes())
    if isinstance(spec, specs.PathSpec):
        size = _Size.of(spec.kernel)
        each = size.attack(len(spec.steps), ONE_STEP, rates, double=True) + OVERHEAD
        return Estimate(size.m * each, 16.0 * size.n**2 + size.gradient_bytes())
    kernel = spec if isinstance(spec, specs.KernelSpec) else getattr(spec, "kernel", None) or spec.sweep.kernel
    size = _Size.of(kernel)
    n, m, c = size.n, size.m, size.outputs
    if kernel.checkpoint is not None:
        net = _NetSize.of(costs_motion.stand_in(kernel.checkpoint.run))
        return _timed(costs_motion.on_checkpoint(spec, n, m, c, net.flops, net.weights), net, rates)
    double = kernel.precision == "float64"
    matrix = 8.0 * n * n
    if isinstance(spec, specs.KernelSpec):
        pairs = n * (n + 1) / 2 + n * m
        return Estimate(pairs * size.pair(rates, double), matrix + 8.0 * n * m + LEAST_MEMORY)
    if isinstance(spec, specs.SpectrumSpec):
        return Estimate(rates.eigh * n**3, 5 * matrix)
    if isinstance(spec, specs.SweepSpec):
        return Estimate(
            m * size.attack(n, spec.attack, rates), 4 * matrix + 12.0 * n * size.pixels + size.gradient_bytes()
        )
    if isinstance(spec, specs.CurvesSpec):
        each = size.attack(105, spec.sweep.attack, rates, c)  # kept features, training time and bands
        each += 0 if size.by_signs(spec.sweep.attack, c) else OVERHEAD
        return Estimate(m * each, 4 * matrix + size.gradient_bytes())
    attack = getattr(spec, "attack", None) or spec.sweep.attack
    most = max(attack.steps, 10)  # PGD stands beside every attack
    steps = {
        specs.PredictSpec: m * (attack.steps + most + 1),
        specs.FlipSpec: 40 * (most + 1),
        specs.UploadSpec: 40 * (most + 1),
    }.get(type(spec), 4)
    each = 15 * n * size.recursion(rates, True) * (DENSE_GRADIENT if size.loops and size.dense else 1)
    return Estimate(steps * each + 20 * OVERHEAD, 4 * matrix + size.gradient_bytes())


def _timed(work: costs_motion.Work, net: "_NetSize", rates: Rates) -> Estimate:
    seconds = work.flops * rates.flop32 * NET_SLOWER + work.cubed * rates.eigh
    return Estimate(seconds + OVERHEAD, net.bytes(100) + work.bytes)


def _of_nets(spec: specs.StageSpec, rates: Rates) -> Estimate:
    """Training and attacking finite nets and kernel predictors: forward passes, each backward counted as two."""
    if isinstance(spec, specs.TwinSpec | specs.NetworkSpec):
        size, passes = _Size.of(spec.kernel), _NetSize.of(spec)
        images = spec.training.steps * (size.n if spec.training.batch is None else spec.training.batch)
        # a step needs no gradient of the images; ten looks at the gradients on the way do
        work = images * (3.0 * passes.flops - passes.first) + 10 * size.m * 3.0 * passes.flops
        return Estimate(work * rates.flop32 * NET_SLOWER + OVERHEAD, passes.bytes(size.n))
    if isinstance(spec, specs.TransferSpec):
        model, passes = spec.target, (1 + len(spec.perturb.eps)) + 3
    else:
        model, passes = spec.source, 3 * (1 + len(spec.eps) * (spec.steps - 1))
        passes += AUTO_PASSES * len(spec.eps) if spec.method == "autoattack" else 0
    if isinstance(model, specs.Noise):
        return Estimate(OVERHEAD, LEAST_MEMORY)
    size = _Size.of(model.kernel)
    if isinstance(model, specs.KernelModel):
        per_image = 5 * size.n * size.recursion(rates, True)  # forward and backward, in double precision
        per_image *= POOLED if size.pooled else 1
        return Estimate(size.m * passes * per_image / 3 + OVERHEAD, 4 * 8.0 * size.n**2 + size.gradient_bytes())
    net = _NetSize.of(model)
    return Estimate(size.m * passes * net.flops * rates.flop32 * NET_SLOWER + OVERHEAD, net.bytes(100))


@dataclass(frozen=True)
class _NetSize:
    """A finite net: operations of one forward pass per image (in all, of the first layer), numbers kept per image,
    weights."""

    flops: float
    first: float
    activations: float
    weights: float

    @classmethod
    @lru_cache(1024)
    def of(cls, spec: specs.TwinSpec | specs.NetworkSpec) -> "_NetSize":
        channels, height, width = data.image_shape(spec.kernel.data)
        if isinstance(spec, specs.NetworkSpec):
            pixels = height * width
            flops, kept, fixed, dense = {  # per pixel, and weights: those of the convolutions, those that grow along
                "cnn-small": (1.3e4, 160, 1.9e4, 1024),
                "cnn-large": (1.5e5, 290, 2.9e5, 8 * _Size.of(spec.kernel).outputs),
                "resnet18": (1.1e6, 700, 1.12e7, 0),
            }[spec.name]
            return cls(flops * pixels, 0.0, kept * pixels, fixed + dense * pixels)
        flops, kept, weights = [], 0.0, 0.0
        inputs, positions = channels, height * width
        layers = spec.kernel.net.build().layers
        last = max(i for i, layer in enumerate(layers) if isinstance(layer, nets.Dense | nets.Conv))
        for i, layer in enumerate(layers):
            if isinstance(layer, nets.Flatten | nets.GlobalAvgPool):
                inputs = inputs * positions if isinstance(layer, nets.Flatten) else inputs
                positions = 1
            elif isinstance(layer, nets.AvgPool):
                positions //= 4
            elif isinstance(layer, nets.Dense | nets.Conv):
                taps = 9 if isinstance(layer, nets.Conv) else 1
                wide = _Size.of(spec.kernel).outputs if i == last else spec.width
                flops.append(2.0 * taps * inputs * wide * positions)
                weights += taps * inputs * wide
                inputs = wide
                kept += 2.0 * wide * positions
        return cls(sum(flops), flops[0], kept, weights)

    def bytes(self, images: int) -> float:
        return 4.0 * (2 * KEPT * self.activations * images + 5 * self.weights) + LEAST_MEMORY


@dataclass(frozen=True)
class _Size:
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
    def of(cls, spec: specs.KernelSpec) -> "_Size":
        channels, height, width = data.image_shape(spec.data)
        net = spec.net.build()
        activations, convolutions = _covariances(net, height, width)
        classes = len(spec.data.classes or data.info(spec.data).classes)  # own data may leave them open
        outputs = 1 if classes == 2 else classes
        return cls(
            spec.data.n_train,
            spec.data.n_test,
            channels * height * width,
            outputs,
            activations,
            convolutions,
            _by_loops(net),
            net.flat_input,
            (height * width) ** 2 if net.spatial_pairs else 0,
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
        once = values == 1 and attack.norm == "linf" and attack.steps == 1 and not attack.random_start
        return self.loops and self.dense and once

    def _by_signs(self, predictors: int, rates: Rates) -> float:
        """The same by an expansion (``kernels.expansion``): only where a predictor is right."""
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
    from ntkcore.kernels import dense, spatial  # here, because numba takes half a second

    return dense.covers_net(net) or spatial.covers_net(net)
