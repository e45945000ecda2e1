"""The transfer story: one kernel's perturbations against finite nets of several widths and seeds, and others beside.

A story is not a stage: it names the transfers that tell it, in the order in which they are worth having::

    story = Story(kernel=e.ntk(), widths=(32, 128, 512, 2048), seeds=2)
    story.targets()                     # {"width 32": [TwinSpec, TwinSpec], ...}
    story.transfers()                   # {("width 32", 0, "kernel_fgsm"): TransferSpec, ...}
"""

from pydantic import Field, field_validator, model_validator

from ntkcore.analysis.attacks.balls import BALLS, Norm
from ntkcore.architectures import ARCHITECTURES
from ntkcore.errors import SpecError
from ntkcore.runs.specs.experiment import Experiment
from ntkcore.runs.stages import KernelModel, KernelSpec, NetworkSpec, Noise, PerturbSpec, TransferSpec, TwinSpec
from ntkcore.training import LAZY, PLAIN, Descent, Training
from ntkcore.validation import Spec

SOURCES = ("white_fgsm", "white_pgd", "autoattack", "kernel_fgsm", "kernel_pgd", "other_seed", "noise")
# Widths of the twins by family, unless others are chosen: the work of a convolution grows with their square.
FIRST_WIDTHS = {"fc": (32, 128, 512, 2048), "conv": (8, 32, 128), "myrtle": (8, 16, 32)}
TWIN_PLAIN = "twin trained by SGD"
OUTSIDE = (TWIN_PLAIN, *ARCHITECTURES)  # nets that can stand beside the twins


def radii(largest: float) -> tuple[float, ...]:
    """Radii up to the largest, each twice the one before: where accuracy falls, whatever the images."""
    return tuple(largest / 2**k for k in (4, 3, 2, 1, 0))


class Story(Spec):
    """widths and seeds of the finite twins; eps: radii of the attacks, pixel units; training: of the twins and, step
    by step, of the kernel predictor; outside: nets beside them that are not trained as the kernel is but by ``plain``;
    strong: AutoAttack on every net (``ntkcore.analysis.attacks.autoattack``, an optional extra)."""

    kernel: KernelSpec = KernelSpec()
    widths: tuple[int, ...] = (32, 128, 512, 2048)
    seeds: int = Field(2, ge=1, le=10)
    eps: tuple[float, ...] = radii(16 / 255)
    norm: Norm = "linf"
    steps: int = Field(10, ge=2, le=200)
    training: Training = LAZY
    outside: tuple[str, ...] = ()
    plain: Training = PLAIN
    strong: bool = False

    @field_validator("widths")
    @classmethod
    def _some(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(widths)))

    @field_validator("outside")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in OUTSIDE:
                raise ValueError(f"There is no net {name!r} to stand beside the twins; choose of {', '.join(OUTSIDE)}.")
        return names

    @model_validator(mode="after")
    def _attackable(self) -> "Story":
        PerturbSpec(source=self.predictor, eps=self.eps, steps=self.steps, norm=self.norm)  # says what does not fit
        return self

    @property
    def predictor(self) -> KernelModel:
        """The kernel's prediction, pushed through the twins' own recursion."""
        return KernelModel(kernel=self.kernel, descent=self.training.descent or Descent())

    def about(self, e: Experiment) -> "Story":
        """The same nets and attacks on the images of another experiment, as the twins of its net."""
        if e.attack.norm != self.norm:
            measured = {norm: BALLS[norm].sign for norm in (e.attack.norm, self.norm)}
            raise SpecError(f"Its radius is measured as {' and not as '.join(measured.values())}: choose the same.")
        first = min(self.kernel.data.n_test, e.data.n_test)
        return self.replace(kernel=e.replace(data=e.data.replace(n_test=first)).ntk())

    def targets(self) -> dict[str, list[TwinSpec | NetworkSpec]]:
        """Nets by group, one for each seed: the twins by width, then the nets beside them."""
        kernel, seeds = self.kernel, range(self.seeds)
        groups: dict[str, list[TwinSpec | NetworkSpec]] = {
            f"width {width}": [TwinSpec(kernel=kernel, width=width, seed=s, training=self.training) for s in seeds]
            for width in self.widths
        }
        for name in self.outside:
            if name == TWIN_PLAIN:
                width = max(self.widths, default=512)
                groups[name] = [TwinSpec(kernel=kernel, width=width, seed=s, training=self.plain) for s in seeds]
            else:
                groups[name] = [NetworkSpec(kernel=kernel, name=name, seed=s, training=self.plain) for s in seeds]
        return groups

    def perturbation(self, source: str, target: TwinSpec | NetworkSpec) -> PerturbSpec:
        """The perturbed images of one of SOURCES as the target meets them."""
        steps = self.steps if source.endswith("pgd") else 1
        if source == "noise":
            return PerturbSpec(source=Noise(data=self.kernel.data, seed=target.seed), eps=self.eps)
        model: KernelModel | TwinSpec | NetworkSpec
        if source == "other_seed":
            model = target.replace(seed=(target.seed + 1) % self.seeds)
        else:
            model = self.predictor if source.startswith("kernel") else target
        method = "autoattack" if source == "autoattack" else "gradient"
        return PerturbSpec(source=model, eps=self.eps, steps=steps, norm=self.norm, method=method)

    def sources(self) -> tuple[str, ...]:
        """The sources there are: another seed only where there are two, random signs only in the linf ball."""
        absent = {"other_seed"} if self.seeds < 2 else set()
        absent |= set() if self.norm == "linf" else {"noise"}
        absent |= set() if self.strong else {"autoattack"}
        return tuple(source for source in SOURCES if source not in absent)

    def transfers(self) -> dict[tuple[str, int, str], TransferSpec]:
        """Every transfer by (group, seed, source), in the order of the groups."""
        return {
            (group, net.seed, source): TransferSpec(perturb=self.perturbation(source, net), target=net)
            for group, nets in self.targets().items()
            for net in nets
            for source in self.sources()
        }

    def in_words(self) -> str:
        groups = ", ".join(self.targets())
        return f"{groups}; {self.seeds} seed{'s' * (self.seeds > 1)}"


def source_key(spec: TransferSpec) -> str:
    """Which of SOURCES a transfer has."""
    source, many = spec.perturb.source, "pgd" if spec.perturb.steps > 1 else "fgsm"
    if isinstance(source, Noise):
        return "noise"
    if spec.perturb.method == "autoattack":
        return "autoattack"
    if isinstance(source, KernelModel):
        return f"kernel_{many}"
    return f"white_{many}" if source == spec.target else "other_seed"
