"""What the pages' lines share: the images, the net, its kernel, the attack, a prediction, a training.

::

    script = begin(experiment)                    # task, net and k
    script.add(f"f = {fitted(experiment)}")
"""

from ntkcore.analysis.attacks.attack import Attack, fgsm, pgd
from ntkcore.data import DataSpec
from ntkcore.runs.specs import EpochSpec, Experiment, NamedNet, NetSpec, RunSpec, TwinNet
from ntkcore.runs.stages.kernel_side.solution import RESIDUAL
from ntkcore.training import PLAIN, Schedule, Training
from pages.ui.code.script import Raw, Script, call, pixels

OUTPUTS = Raw("task.y_train.shape[1]")
INEXACT = """
# Sums depend on the number of threads and on the layout of the images in memory, and training magnifies that: shares
# of images agree with the page's to an image or two, other numbers to about a tenth.
"""
KNOWN_BY_NAME = {"ntk.Training()": Training(), "PLAIN": PLAIN}


def begin(experiment: Experiment, *, kernel: bool = True) -> Script:
    """A script that has ``task``, and with its kernel ``net`` (of an infinite kernel) and ``k``."""
    script = Script()
    script.add(f"task = {load(experiment.data)}")
    if kernel and experiment.checkpoint is not None:
        _checkpoint(script, experiment.checkpoint, experiment.data)
    elif kernel:
        script.add(f"net = {net(experiment.net)}")
        if experiment.inputs != "raw":
            script.add(f"inputs = {mapped(experiment.inputs)}")
        script.add(f"k = {kernel_of('net', experiment.kind, experiment.inputs)}")
    return script


def load(spec: DataSpec) -> str:
    known = DataSpec(name=spec.name, classes=(), digest=spec.digest).classes
    fields = {"name": spec.name, "classes": () if spec.classes == known else spec.classes}
    fields |= {"n_train": spec.n_train, "n_test": spec.n_test}
    fields |= {} if spec.order == "balanced" else {"order": spec.order}
    fields |= {name: value for name in ("size", "seed", "digest") if (value := getattr(spec, name)) is not None}
    return call("ntk.load", Raw(call("ntk.DataSpec", **fields)))


def net(spec: NetSpec) -> Raw:
    rest = {} if spec.activation == "relu" else {"activation": spec.activation}
    return Raw(call(f"ntk.{spec.family}", depth=spec.depth, W_std=spec.W_std, b_std=spec.b_std, **rest))


def mapped(inputs: str, images: str = "task.x_train") -> Raw | None:
    """The map of the pixels; None for none."""
    return None if inputs == "raw" else Raw(call("ntk.input_map", inputs, Raw(images)))


def kernel_of(net: str, kind: str, inputs: str) -> Raw:
    """The kernel of a net; of inputs that are mapped it needs ``inputs``."""
    rest = {} if inputs == "raw" else {"inputs": Raw("inputs")}
    return Raw(call("ntk.kernel_fn", Raw(net), kind=kind, **rest))


def images(which: str, experiment: Experiment) -> str:
    """Images in the precision of the kernel; the task's own are float32."""
    return f"task.{which}" if experiment.precision == "float32" else f"task.{which}.double()"


def eigenpairs(experiment: Experiment, kernel: str = "k") -> str:
    return f"ntk.spectrum({kernel}({images('x_train', experiment)}){leading(experiment)})"


def leading(experiment: Experiment) -> str:
    """The number of eigenpairs that are asked for, where that is not all."""
    return "" if experiment.eigenpairs is None else f", {experiment.eigenpairs}"


def fitted(experiment: Experiment) -> str:
    """The kernel's prediction at t = infinity."""
    rest = {"ridge": experiment.ridge} if experiment.ridge else {}
    if experiment.eigenpairs is not None:
        rest |= {"residual": RESIDUAL, "K": Raw(f"k({images('x_train', experiment)})")}
    if experiment.eigenpairs is not None or experiment.precision == "float32":
        rest["spectrum_of_train"] = Raw(eigenpairs(experiment))
    return call("ntk.fit", Raw("k"), Raw("task.x_train"), Raw("task.y_train"), **rest)


def attack(a: Attack) -> Raw:
    """An attack in the shortest words that make it."""
    ball = {} if a.norm == "linf" else {"norm": a.norm}
    if a == fgsm(a.eps, a.norm):
        return Raw(call("ntk.fgsm", pixels(a.eps, a.norm), **ball))
    usual = pgd(a.eps, a.steps, norm=a.norm).step_size
    size = {} if a.step_size == usual else {"step_size": pixels(a.step_size, a.norm)}
    start = {"random_start": True} if a.random_start else {}
    start |= {"seed": a.seed} if a.seed else {}
    return Raw(call("ntk.pgd", pixels(a.eps, a.norm), steps=a.steps, **size, **ball, **start))


# -- nets in training ----------------------------------------------------------------------------------------------


def training(recipe: Training, script: Script) -> Raw:
    """A recipe by its name, or by what is not usual in it."""
    for name, known in KNOWN_BY_NAME.items():
        if recipe == known:
            if name.isidentifier():
                script.use("ntkcore.training", name)
            return Raw(name)
    fields = Training.model_fields
    return Raw(
        call(
            "ntk.Training",
            **{name: getattr(recipe, name) for name, f in fields.items() if getattr(recipe, name) != f.default},
        )
    )


def schedule(t: Schedule, seed: object = None) -> Raw:
    """seed: an expression for it; its own otherwise."""
    fields = {name: getattr(t, name) for name in ("loss", "lr", "momentum", "batch")}
    return Raw(call("ntk.Schedule", **fields, seed=t.seed if seed is None else seed))


def module(spec: NamedNet | TwinNet, seed: object, script: Script, task: str = "task") -> str:
    """A finite net before its training."""
    shape, outputs = Raw(f"{task}.image_shape"), Raw(f"{task}.y_train.shape[1]")
    if isinstance(spec, NamedNet):
        script.use("ntkcore.architectures", "build")
        return call("build", spec.name, shape, outputs, seed=seed, init=spec.init)
    form = {"parameterisation": spec.parameterisation}
    return call(f"{net(spec.net)}.module", shape, spec.width, outputs, seed=seed, **form)


def trained(script: Script, inputs: str) -> None:
    """A function that trains a net as the kernel's prediction is; needs ``s`` and ``inputs``."""
    made = f"ntk.finite_net(module, {'' if inputs == 'raw' else 'inputs, '}centred=recipe.centred)"
    script.space()
    script.add(INEXACT)
    script.add(
        f"""
        def trained(module, recipe, seed):
            f = {made}
            for _ in ntk.train(f, task.x_train, task.y_train, recipe, task.n / float(s.values[0]), seed):
                pass
            f.module.eval()
            return f
        """
    )
    script.space()


def adversary(script: Script, attack_name: str, a: Attack) -> None:
    """A function that makes the images of adversarial training."""
    own = f"{attack_name}.replace(seed={attack_name}.seed + draw)" if a.random_start else attack_name
    script.define(
        f"""
        def adversary(f, x, y, draw):  # trained on: each batch as the attack perturbs it
            return {own}.perturb(f, x, y, {attack_name}.eps)[0]
        """
    )


def _checkpoint(script: Script, checkpoint: EpochSpec, data: DataSpec) -> None:
    """The tangent kernel of a net in training as ``k``: it is trained up to the epoch."""
    run: RunSpec = checkpoint.run
    own = "task" if run.data == data else "own"
    if own != "task":
        script.add(f"own = {load(run.data)}")
    script.add(INEXACT)
    inputs = mapped(run.inputs, f"{own}.x_train")
    script.add(f"module = {module(run.net, run.seed, script, own)}")
    script.add(f"net = {call('ntk.finite_net', Raw('module.eval()'), *([] if inputs is None else [inputs]))}")
    rest = []
    if run.attack is not None:
        script.add(f"trained_on = {attack(run.attack)}")
        adversary(script, "trained_on", run.attack)
        rest = [Raw("adversary")]
    arguments = [Raw(f"{own}.x_train"), Raw(f"{own}.y_train"), schedule(run.schedule)]
    first = checkpoint.epoch if run.linear_from is None else run.linear_from
    script.add(f"*_, last = {call('ntk.train_epochs', Raw('net'), *arguments, first, *rest)}")
    if run.linear_from is not None:
        linearise(script, "net", "last")
        rest = [*(rest or [None]), Raw("start")]
        script.add(f"*_, last = {call('ntk.train_epochs', Raw('linear'), *arguments, checkpoint.epoch, *rest)}")
    script.add(f"k = ntk.tangent_kernel({'net' if run.linear_from is None else 'linear'})")


def linearise(script: Script, net: str, last: str, inside: int = 0) -> None:
    """``linear``: the net as its own linearisation, and ``start``, where its training goes on."""
    script.use("copy")
    script.use("ntkcore.training", "Linearised", "Start")
    script.add(
        f"""
        linear = ntk.finite_net(Linearised(copy.deepcopy({net}.module)).eval(), {net}.inputs)
        start = Start({last}.epoch, {{f"net.{{name}}": v for name, v in {last}.momentum.items()}})
        """,
        inside,
    )
