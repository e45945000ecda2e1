"""The Python lines that reproduce a page's result with the library alone.

::

    lines(experiment, "K = k(task.x_train)")
"""

from collections.abc import Mapping

from ntkcore.data import DataSpec
from ntkcore.runs.specs import EpochSpec, Evolution, Experiment, NamedNet, Story, TwinNet
from ntkcore.training import Schedule


def lines(experiment: Experiment, last: str) -> str:
    """A runnable script: data, net, kernel and attack of the experiment, then the page's own lines."""
    net, attack = experiment.net, experiment.attack
    fgsm = attack.steps == 1 and not attack.random_start
    start = f", random_start=True, seed={attack.seed}" if attack.random_start else ""
    norm = "" if attack.norm == "linf" else f", norm={attack.norm!r}"
    make = (
        f"ntk.fgsm({attack.eps!r}{norm})"
        if fgsm
        else f"ntk.pgd({attack.eps!r}, steps={attack.steps}, step_size={attack.step_size!r}{norm}{start})"
    )
    activation = "" if net.activation == "relu" else f", activation={net.activation!r}"
    inputs = "" if experiment.inputs == "raw" else f", inputs=ntk.input_map({experiment.inputs!r}, task.x_train)"
    kernel = (
        f"net = ntk.{net.family}(depth={net.depth}, W_std={net.W_std!r}, b_std={net.b_std!r}{activation})\n"
        f"k = ntk.kernel_fn(net, kind={experiment.kind!r}{inputs})\n"
        if experiment.checkpoint is None
        else _trained_kernel(experiment.checkpoint)
    )
    return f"import ntkcore as ntk\n\ntask = {_load(experiment.data)}\n{kernel}attack = {make}\n{last}\n"


def _load(spec: DataSpec) -> str:
    fields = {"name": spec.name, "classes": spec.classes, "n_train": spec.n_train, "n_test": spec.n_test}
    fields |= {name: value for name in ("size", "seed", "digest") if (value := getattr(spec, name)) is not None}
    return f"ntk.load(ntk.DataSpec({', '.join(f'{name}={value!r}' for name, value in fields.items())}))"


def _trained_kernel(checkpoint: EpochSpec) -> str:
    """Lines that train a net up to a checkpoint, and its tangent kernel as k."""
    run = checkpoint.run
    attack = "None"
    if run.attack is not None:
        fields = ", ".join(f"{name}={value!r}" for name, value in run.attack.model_dump().items())
        attack = f"lambda f, x, y, draw: Attack({fields}).perturb(f, x, y, {run.attack.eps!r})[0]"
    return (
        "from ntkcore.analysis.attacks import Attack\n"
        "from ntkcore.architectures import build\n"
        f"own = {_load(run.data)}\n"
        f"f = ntk.finite_net({_make(run.net, 'own', run.seed)}.eval(), ntk.input_map({run.inputs!r}, own.x_train))\n"
        f"schedule = {_schedule(run.schedule)}\n"
        f"*_, last = ntk.train_epochs(f, own.x_train, own.y_train, schedule, {checkpoint.epoch}, {attack})\n"
        "k = ntk.tangent_kernel(f)\n"
    )


def _make(net: NamedNet | TwinNet, task: str, seed: int) -> str:
    outputs = f"{task}.y_train.shape[1]"
    if isinstance(net, NamedNet):
        return f"build({net.name!r}, {task}.image_shape, {outputs}, seed={seed}, init={net.init!r})"
    n = net.net
    made = f"ntk.{n.family}(depth={n.depth}, W_std={n.W_std!r}, b_std={n.b_std!r}, activation={n.activation!r})"
    form = f"seed={seed}, parameterisation={net.parameterisation!r}"
    return f"{made}.module({task}.image_shape, {net.width}, {outputs}, {form})"


def _schedule(t: Schedule) -> str:
    return f"ntk.Schedule(loss={t.loss!r}, lr={t.lr!r}, momentum={t.momentum!r}, batch={t.batch!r}, seed={t.seed!r})"


def story_lines(experiment: Experiment, story: Story) -> str:
    """A runnable script: one twin of the story trained and attacked through the kernel."""
    t = story.training
    width = max(story.widths, default=512)
    last = (
        "s = ntk.spectrum(k(task.x_train.double()))\n"
        f"f = ntk.fit_steps(k, task.x_train, task.y_train, lr={t.lr!r}, momentum={t.momentum!r}, steps={t.steps!r})\n"
        f"recipe = ntk.Training(lr={t.lr!r}, momentum={t.momentum!r}, steps={t.steps!r})\n"
        f"module = net.module(task.image_shape, width={width}, outputs=task.y_train.shape[1], seed=0)\n"
        f"twin = ntk.finite_net(module, inputs=ntk.input_map({experiment.inputs!r}, task.x_train), centred=True)\n"
        "unit = task.n / float(s.values[0])\n"
        "for checkpoint in ntk.train(twin, task.x_train, task.y_train, recipe, unit):\n"
        "    pass\n"
        "x_adv = attack(f, task.x_test.double(), task.y_test).x_adv  # made without training\n"
        "print(ntk.accuracy(twin(task.x_test), task.y_test), ntk.accuracy(twin(x_adv), task.y_test))"
    )
    return lines(experiment.infinite().replace(kind="ntk"), last)


def consistency_lines(experiments: Mapping[str, Experiment]) -> str:
    """A runnable script: the first two architectures' kernels compared."""
    one, two = list(experiments.values())[:2]
    net = two.net
    activation = "" if net.activation == "relu" else f", activation={net.activation!r}"
    other = f"ntk.{net.family}(depth={net.depth}, W_std={net.W_std!r}, b_std={net.b_std!r}{activation})"
    inputs = "" if one.inputs == "raw" else f", inputs=ntk.input_map({one.inputs!r}, task.x_train)"
    return lines(
        one,
        "from ntkcore.analysis.consistency import alignment_matrix, subspace_overlap\n"
        f"other = ntk.kernel_fn({other}, kind={one.kind!r}{inputs})\n"
        "x = task.x_train.double()\n"
        "kernels = [k(x), other(x)]\n"
        "print(alignment_matrix(kernels, centred=True))\n"
        "one, two = (ntk.spectrum(K).vectors for K in kernels)\n"
        "print(subspace_overlap(one, two, ks=[1, 5, 20]))",
    )


def evolution_lines(experiment: Experiment, e: Evolution) -> str:
    """A runnable script: one net trained on attacked images, and how far its tangent kernel moves.

    Sums of floating point numbers depend on the number of threads, and training magnifies that: the numbers agree with
    the page's to about a tenth.
    """
    return lines(
        experiment.infinite(),
        "# FGSM training, seed 0; the page's numbers up to rounding, which training magnifies\n"
        "from ntkcore.analysis.evolution import inner_products, look\n"
        "from ntkcore.architectures import build\n"
        f"f = ntk.finite_net({_make(e.net, 'task', 0)}.eval(), ntk.input_map({e.inputs!r}, task.x_train))\n"
        f"probe = f.inputs(task.x_train[:{e.probe}])\n"
        "adversary = lambda f, x, y, draw: attack.perturb(f, x, y, attack.eps)[0]\n"
        "looks = []\n"
        f"for c in ntk.train_epochs(f, task.x_train, task.y_train, {_schedule(e.schedule)}, {e.epochs}, adversary):\n"
        "    theta = ntk.empirical_ntk(f.module, probe)  # [n, n, c, c]\n"
        "    looks.append(look(theta.transpose(1, 2).flatten(2).flatten(0, 1)))\n"
        "    if c.epoch:\n"
        "        a, b, ab = (inner_products(p, q)[0] for p, q in zip((looks[-2], looks[-1], looks[-2]), "
        "(looks[-2], looks[-1], looks[-1])))\n"
        "        print(c.epoch, c.loss, 'velocity', float(1 - ab / (a * b).sqrt()))",
    )
