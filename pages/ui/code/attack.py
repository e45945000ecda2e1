"""The lines of the Attack page: one image under attack, by whomever it is made and whomever it is to fool."""

from collections.abc import Sequence

from ntkcore.data import Task
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages.kernel_side.parts import PGD_STEPS
from ntkcore.training import LAZY
from pages.ui.code.kernels import attack_all
from pages.ui.code.pieces import OUTPUTS, attack, begin, eigenpairs, fitted, trained, training
from pages.ui.code.script import Raw, Script, call, entries, literal, pixels
from pages.ui.sections.attack import DESCENT, ITSELF, KERNEL, NEAR, WIDTH, is_net, largest_radius


def attack_lines(
    experiment: Experiment,
    task: Task,
    index: int,
    source: str,
    target: str,
    own: tuple[str, int] | None,
    beside: Sequence[str],
) -> str:
    """own: name in the store and class of an image of the reader's own; beside: whom else the page's table asks."""
    if own is None and not (target == KERNEL and source in (ITSELF, KERNEL)):
        return _through(experiment, task, index, target if source == ITSELF else source, target, beside)
    script = begin(experiment)
    script.add(f"f = {fitted(experiment)}")
    script.add(f"attack = {attack(experiment.attack)}")
    _says(script, task)
    if own is None:
        script.add(f"image, label = task.x_test[{index}].double(), task.y_test[{index}].double()")
    else:
        _own(script, task, *own)
    _alone(script, experiment)
    if own is None:
        _every(script, experiment, index)
    return str(script)


def _says(script: Script, task: Task) -> None:
    chosen = "outputs > 0" if task.is_binary else "outputs.argmax()"
    script.define(
        f"""
        def says(outputs):  # [1, c]
            return task.classes[int({chosen})]
        """
    )


def _own(script: Script, task: Task, name: str, label: int) -> None:
    script.use("torch")
    script.use("ntkcore.runs.stages", "Store")
    script.add(f'image = Store().get("image", {literal(name)}).arrays["image"].double()  # as the app has kept it')
    if task.is_binary:
        value = f"torch.tensor([{2.0 * label - 1}], dtype=torch.float64)"
    else:
        value = f"torch.eye({task.n_classes}, dtype=torch.float64)[{label}]"
    script.add(f"label = {value}  # task.classes[{label}]")


def _alone(script: Script, experiment: Experiment) -> None:
    """One image, the kernel attacked through itself: what it then says, its margin along the radius, what flips it."""
    largest, norm, eps = largest_radius(experiment), experiment.attack.norm, experiment.attack.eps
    ball = "" if norm == "linf" else f", norm={literal(norm)}"
    more = f", steps={experiment.attack.steps}" if experiment.attack.steps > PGD_STEPS else ""
    script.use("torch")
    script.use("ntkcore.analysis.attacks.balls", "radii_up_to")
    script.use("ntkcore.analysis.attacks.margin_path", "margin_along_eps")
    script.use("ntkcore.readings.kernel", "read_flip")
    script.add(
        f"""
        one = attack(f, image[None], label[None])
        print(f"kernel: {{says(one.clean)}}, of the adversarial image: {{says(one.attacked)}}")
        radii = torch.tensor(radii_up_to({largest!r}, {literal(norm)}, {pixels(eps, norm)}), dtype=torch.float64)
        fgsm, pgd = (
            margin_along_eps(f, image, label, a, radii)
            for a in (ntk.fgsm({largest!r}{ball}), ntk.pgd({largest!r}{more}{ball}))
        )
        right = bool(fgsm.margins[0] > 0)
        print(*read_flip(fgsm.flip_eps, pgd.flip_eps, right, {largest!r}, {literal(norm)}, radii=len(radii)), sep="\\n")
        print("margins under FGSM", fgsm.margins.tolist())
        print("margins under PGD", pgd.margins.tolist())
        """
    )


def _every(script: Script, experiment: Experiment, index: int) -> None:
    """All test images under the experiment's own attack."""
    script.space()
    attack_all(script, experiment)
    script.add(
        f"""
        before, after = (ntk.margin(outputs, task.y_test) for outputs in (clean, attacked))
        print(f"test image {index}, margin {{before[{index}]:+.2f}} to {{after[{index}]:+.2f}}")
        """
    )
    _tally(script)


def _tally(script: Script) -> None:
    script.add(
        """
        right, flipped = (before > 0) & (after > 0), (before > 0) & (after <= 0)
        print(f"{int(right.sum())} right, {int(flipped.sum())} flipped, {int((before <= 0).sum())} wrong")
        """
    )


def _through(experiment: Experiment, task: Task, index: int, source: str, target: str, beside: Sequence[str]) -> str:
    """A target attacked through a source, and what others say of that image."""
    everyone = list(dict.fromkeys((*beside, source, target)))
    script, eps = begin(experiment.infinite().replace(kind="ntk")), experiment.attack.eps
    script.use("math")
    script.use("ntkcore.readings.kernel", "read_flip")
    script.use("ntkcore.analysis.attacks.balls", "radii_up_to")
    script.use("ntkcore.analysis.attacks.transfer", "judge", "perturb_along")
    script.use("ntkcore.figures.attacks.attack", "first_flip")
    script.add(f"s = {eigenpairs(experiment)}")
    if any(map(is_net, everyone)):
        trained(script, experiment.inputs)
    _says(script, task)
    script.add(entries("predictors", {name: _predictor(name, experiment, script) for name in everyone}))
    largest, norm = largest_radius(experiment), experiment.attack.norm
    ball = {} if norm == "linf" else {"norm": norm}
    fgsm, pgd = (call(f"ntk.{name}", Raw("radii[-1]"), **ball) for name in ("fgsm", "pgd"))
    who = "net" if is_net(target) else "kernel"
    script.add(
        f"""
        source, target = predictors[{literal(source)}], predictors[{literal(target)}]
        x, y, i = task.x_test, task.y_test, {index}
        radii = radii_up_to({largest!r}, {literal(norm)}, {pixels(eps, norm)}, near={NEAR})
        at = radii.index({pixels(eps, norm)})

        flips = []
        for attack in ({pgd}, {fgsm}):  # the last one is what the pictures show
            x_adv = perturb_along(source, x, y, attack, radii).x_adv  # [E, m, C, H, W]
            v = judge(target, x, x_adv, y)
            margins = [ntk.margin(outputs, y)[i].item() for outputs in v.attacked]
            flip = first_flip(radii, margins)
            flips.append(math.inf if flip is None else flip)
            print(f"margins under {{attack}}", margins)
        pgd, fgsm = flips
        print(f"{who}: {{says(v.clean[i : i + 1])}}, of the adversarial image: {{says(v.attacked[at, i : i + 1])}}")
        right = bool(v.right_before[i])
        flip = read_flip(fgsm, pgd, right, {largest!r}, {literal(norm)}, {literal(who)}, len(radii), halved=False)
        print(*flip, sep="\\n")

        for name, f in predictors.items():  # the table: what each says of this image
            outputs = [f(z[i : i + 1]) for z in (x, x_adv[at])]
            clean, perturbed = (f"{{says(out)}} {{ntk.margin(out, y[i : i + 1]).item():+.2f}}" for out in outputs)
            print(f"{{name}}: {{clean}}, perturbed {{perturbed}}")

        before, after = ntk.margin(v.clean, y), ntk.margin(v.attacked[at], y)
        """
    )
    _tally(script)
    return str(script)


def _predictor(name: str, experiment: Experiment, script: Script) -> str:
    if is_net(name):
        made = Raw(f"net.module(task.image_shape, {name.removeprefix(WIDTH)}, {OUTPUTS}, seed=0)")
        return call("trained", made, training(LAZY, script), seed=0)
    data = [Raw(part) for part in ("k", "task.x_train", "task.y_train")]
    if name == DESCENT:
        return call("ntk.fit_steps", *data, spectrum_of_train=Raw("s"))
    ridge = {"ridge": experiment.ridge} if experiment.ridge else {}
    return call("ntk.fit", *data, **ridge, spectrum_of_train=Raw("s"))
