"""The lines of the Transfer page: nets trained, perturbed through the kernel and otherwise, and judged."""

from collections.abc import Mapping

from ntkcore.runs.specs import TWIN_PLAIN, Experiment, NetSpec, Story
from ntkcore.training import LAZY, Descent
from pages.ui.code.pieces import begin, eigenpairs, kernel_of, net, trained, training
from pages.ui.code.script import WIDE, Raw, Script, call, entries, literal, pixels

TRAIN = [Raw("task.x_train"), Raw("task.y_train")]


def transfer_lines(
    experiment: Experiment, story: Story, at: int, words: str, shown: str, crossed: Mapping[str, NetSpec], width: int
) -> str:
    """at: number of the radius of the page's numbers, in words; shown: the net of the gallery; crossed: architectures
    of the matrix, with nets of this width."""
    e = experiment.infinite().replace(kind="ntk")
    script = begin(e)
    script.use("ntkcore.analysis.attacks.transfer", "judge", "perturb_along")
    script.add(f"s = {eigenpairs(e)}")
    script.add("x, y, shape, outputs = task.x_test, task.y_test, task.image_shape, task.y_train.shape[1]")
    script.add(f"radii = {literal(tuple(pixels(eps, story.norm) for eps in story.eps))}")
    script.add(f"at = {at}  # {words}")
    ball = {} if story.norm == "linf" else {"norm": story.norm}
    script.add(f"fgsm, pgd = {call('ntk.fgsm', Raw('radii[-1]'), **ball)}, {_pgd(story, ball)}")
    script.add(f"kernel = {_after_descent(story.predictor.descent)}")
    trained(script, e.inputs)
    script.add(f"recipe, seeds = {training(story.training, script)}, range({story.seeds})")
    script.add(entries("groups", {name: _group(name, story, script) for name in story.targets()}))
    _attacks(script, story)
    _accuracies(script, story, words)
    _images(script, shown)
    if crossed:
        _matrix(script, e, story, crossed, width, ball)
    return str(script)


def _pgd(story: Story, ball: Mapping[str, str]) -> str:
    return call("ntk.pgd", Raw("radii[-1]"), **({} if story.steps == 10 else {"steps": story.steps}), **ball)


def _after_descent(descent: Descent) -> str:
    """The kernel's prediction after the steps of a descent."""
    usual = Descent()
    fields = {
        name: value for name in ("lr", "momentum", "steps") if (value := getattr(descent, name)) != getattr(usual, name)
    }
    return call("ntk.fit_steps", Raw("k"), *TRAIN, **fields, spectrum_of_train=Raw("s"))


def _group(name: str, story: Story, script: Script) -> str:
    """The nets of a group, one a seed."""
    if name == TWIN_PLAIN:
        widest = max(story.widths, default=512)
        made = f'net.module(shape, {widest}, outputs, seed, parameterisation="standard")'
    elif name in story.outside:
        script.use("ntkcore.architectures", "build")
        made = f'build({literal(name)}, shape, outputs, seed, init="torch")'
    else:
        made = f"net.module(shape, {name.removeprefix('width ')}, outputs, seed)"
    recipe = training(story.plain, script) if name in story.outside else "recipe"
    line = f"[trained({made}, {recipe}, seed) for seed in seeds]"
    return line if len(line) <= WIDE else f"[\n    {line[1:-1]}\n]"


def _attacks(script: Script, story: Story) -> None:
    """``found``: what every attack does to every net."""
    script.use("ntkcore.analysis.attacks.attack", "loss_gradient")
    script.use("ntkcore.analysis.attacks.transfer_statistics", "TransferStatistics")
    script.use("ntkcore.analysis.attacks.transfer", "gradient_cosine")
    sources = story.sources()
    if "noise" in sources:
        script.use("ntkcore.analysis.attacks.transfer", "sign_noise")
    if "autoattack" in sources:
        script.use("torch")
        script.use("ntkcore.analysis.attacks.autoattack", "autoattack")
    norm = "" if story.norm == "linf" else f", {literal(story.norm)}"
    more = {
        "other_seed": "perturb_along(nets[(seed + 1) % len(nets)], x, y, fgsm, radii).x_adv",
        "noise": "sign_noise(x, radii, seed)",
        "autoattack": f"torch.stack([autoattack(f, x, y, eps{norm}) for eps in radii])",
    }
    script.space()
    script.add(
        """
        through_kernel = perturb_along(kernel, x, y, fgsm, radii)
        images = {"kernel_fgsm": through_kernel.x_adv, "kernel_pgd": perturb_along(kernel, x, y, pgd, radii).x_adv}
        found = {}
        for group, nets in groups.items():
            for seed, f in enumerate(nets):
                images["white_fgsm"] = perturb_along(f, x, y, fgsm, radii).x_adv
                images["white_pgd"] = perturb_along(f, x, y, pgd, radii).x_adv
        """
    )
    for source in (source for source in more if source in sources):
        script.add(f'images["{source}"] = {more[source]}', inside=8)
    script.add(
        """
        for source, x_adv in images.items():
            v = judge(f, x, x_adv, y)
            found[group, seed, source] = {"right_before": v.right_before, "right_after": v.right_after}
        found[group, seed, "kernel_fgsm"] |= {
            "zero_gradient": through_kernel.zero_gradient,
            "cosine": gradient_cosine(through_kernel.gradient, loss_gradient(f, x, y)),
        }
        """,
        inside=8,
    )
    script.add("line = TransferStatistics(found)  # means over seeds, with their intervals")


def _accuracies(script: Script, story: Story, words: str) -> None:
    """The table and the sentences."""
    script.space()
    script.add(
        """
        for group in line.groups:
            shares = {source: f"{line.accuracy(group, source).mean[at]:.2%}" for source in line.sources(group)}
            ends = line.clean(group).mean[0], line.worst(group, at).mean[0]
            print(f"{group}: clean {ends[0]:.2%}, worst of all {ends[1]:.2%}", shares)
        """
    )
    readings = ["read_cover", "read_zero"]
    script.add("print(read_cover(line.points, line.seeds))")
    if story.widths:
        readings += ["read_cosine", "read_drops", "read_recovered", "read_white_box"]
        script.add(
            f"""
            widths = {literal(list(story.widths))}
            widest = f"width {{widths[-1]}}"
            left = [line.accuracy(widest, a).one(at) for a in ("white_fgsm", "white_pgd")]
            print(read_white_box(f"{{widest}} and {words}", *left, line.more(widest, "white_pgd", "white_fgsm", at)))
            print(read_recovered(line.recovered_along(widths, at), {literal(words)}))
            ends = [f"width {{width}}" for width in (widths[0], widths[-1])]
            drops = [[line.drop(end, a, at) for end in ends] for a in ("kernel_fgsm", "white_fgsm")]
            print(read_drops(widths, *drops))
            print(read_cosine(line.cosine_along(widths)))
            """
        )
    if "noise" in story.sources():
        readings.append("read_noise")
        script.add(f"print(read_noise(line.noise_cost(at), {literal(words)}))")
    script.add("print(read_zero(line.zero_share()))")
    if story.widths and story.outside:
        readings.append("read_beside")
        script.use("numpy")
        script.use("ntkcore.analysis.attacks.transfer_statistics", "difference_of_means")
        script.add(
            f"""
            twin = np.stack([found[widest, seed, "kernel_fgsm"]["cosine"] for seed in seeds])
            gradient = loss_gradient({_after_descent(LAZY.descent)}, x, y)
            for name in {literal(list(story.outside))}:
                own = np.stack([gradient_cosine(loss_gradient(f, x, y), gradient) for f in groups[name]])
                print(f"{{name}}: {{read_beside(*difference_of_means(own, twin))}}")
            """
        )
    script.use("ntkcore.readings.transfer", *readings)


def _images(script: Script, shown: str) -> None:
    script.add(
        f"""
        v = found[{literal(shown)}, 0, "kernel_fgsm"]
        flips = int((v["right_before"] & ~v["right_after"][at]).sum())
        print(f"{{flips}} of {{task.m}} test images flip: {shown}, seed 0, FGSM on the kernel")
        """
    )


def _matrix(
    script: Script, e: Experiment, story: Story, crossed: Mapping[str, NetSpec], width: int, ball: Mapping[str, str]
) -> None:
    """Kernels of several architectures as sources, their nets as targets."""
    script.use("ntkcore.analysis.attacks.transfer", "recovered")
    script.space()
    script.add(entries("architectures", {name: net(spec) for name, spec in crossed.items()}))
    script.add(
        f"""
        kernels, nets = {{}}, {{}}
        fgsm = {call("ntk.fgsm", Raw("radii[at]"), **ball)}
        for name, net in architectures.items():
            k = {kernel_of("net", "ntk", e.inputs)}
            s = {eigenpairs(e)}
            kernels[name] = {_after_descent(story.predictor.descent)}
            nets[name] = trained(net.module(shape, {width}, outputs, seed=0), recipe, 0)
        images = {{name: perturb_along(f, x, y, fgsm, radii[at : at + 1]).x_adv for name, f in kernels.items()}}
        for name, f in nets.items():
            white = judge(f, x, perturb_along(f, x, y, fgsm, radii[at : at + 1]).x_adv, y)
            shares = {{source: recovered(judge(f, x, x_adv, y), white).item() for source, x_adv in images.items()}}
            print(f"{{name}} net, share of white-box FGSM's drop by kernel:", shares)
        """
    )
