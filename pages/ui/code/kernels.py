"""The lines of Overview, Spectrum and Eigenfeatures: what the experiment's kernel says."""

from collections.abc import Mapping, Sequence

from ntkcore.analysis.attacks.attack import pgd
from ntkcore.runs.specs import Experiment
from ntkcore.runs.stages.kernel_side.parts import PGD_STEPS
from ntkcore.runs.stages.kernel_side.predict import ROWS
from pages.ui.code.pieces import attack, begin, eigenpairs, fitted, images, leading
from pages.ui.code.script import Script, literal


def overview_lines(experiment: Experiment) -> str:
    """Accuracy clean, under the attack, and under PGD of the same radius."""
    script, a = begin(experiment), experiment.attack
    script.use("ntkcore.analysis.features.eigenfeatures", "majority_share")
    script.use("ntkcore.analysis.predict", "correct")
    script.use("ntkcore.readings.kernel", "read_prediction")
    script.add(f"f = {fitted(experiment)}")
    script.add(f"attack = {attack(a)}")
    script.add(f"strong = {attack(pgd(a.eps, max(a.steps, PGD_STEPS), norm=a.norm))}")
    attack_all(script, experiment)
    trained = "" if experiment.checkpoint is None else ", trained=True"
    script.add(
        f"""
        strongly = strong(f, task.x_test, task.y_test).attacked
        right = [correct(outputs, task.y_test) for outputs in (clean, attacked, strongly)]
        for name, verdicts in zip(("clean", attack, "PGD of the same radius"), right):
            print(f"{{name}}: {{verdicts.double().mean():.1%}}")
        print(read_prediction(*right, majority_share(task.y_test), str(attack){trained}))
        if f.left_out:
            print(f"{{f.left_out}} eigenvalues are zero up to rounding")
        """
    )
    return str(script)


def attack_all(script: Script, experiment: Experiment) -> None:
    """``clean`` and ``attacked``: outputs at all test images."""
    if not experiment.attack.random_start or experiment.data.n_test <= ROWS:
        script.add("result = attack(f, task.x_test, task.y_test)")
        script.add("clean, attacked = result.clean, result.attacked")
        return
    script.use("torch")
    script.add(
        f"""
        batches = zip(task.x_test.split({ROWS}), task.y_test.split({ROWS}))  # random starts are drawn for each
        results = [attack(f, x, y) for x, y in batches]
        clean, attacked = (torch.cat([getattr(r, name) for r in results]) for name in ("clean", "attacked"))
        """
    )


def spectrum_lines(experiment: Experiment, time: float, pair: tuple[int, int]) -> str:
    """What the page says of the spectrum, the largest eigenvalues, what is learned by ``time``, and the first numbers
    of the kernel and of a pair of eigenvectors."""
    script = begin(experiment)
    script.use("ntkcore.analysis.spectrum", "label_energy", "learned_fraction")
    script.use("ntkcore.readings.kernel", "read_spectrum")
    script.add(
        f"""
        K = k({images("x_train", experiment)})
        s = ntk.spectrum(K{leading(experiment)})
        energy = label_energy(s, task.y_train)
        print(read_spectrum(s, energy))
        print("eigenvalues", s.values[:5].tolist())
        print("label energy", energy[:5].tolist())
        learned = learned_fraction(s.values, {time!r})
        print(int((learned > 0.5).sum()), "modes are more than half learned at t = {time:.3g}")
        print("kernel of the first images", K[0, :5].tolist())
        print("eigenvectors at the first images", s.vectors[:3, [{pair[0]}, {pair[1]}]].tolist())
        """
    )
    return str(script)


def eigenfeatures_lines(experiment: Experiment, feature: int, features: Sequence[int], at: Mapping[str, int]) -> str:
    """All features, one of them, what is left of a few, and pictures of some at one test image (at) of each class."""
    script, rule = begin(experiment), experiment.rule
    by_rule = f"fdr={rule.fdr!r}, keep={rule.keep!r}"
    script.use("ntkcore.analysis.features.classes", "falling")
    script.use("ntkcore.analysis.features.halves", "halves")
    script.use("ntkcore.analysis.features.tradeoff", "along_time", "band_sums", "kept_features")
    names = ("bands", "falling", "feature", "kept", "null", "sweep", "tail", "time", *(("split",) if at else ()))
    script.use("ntkcore.readings.features", *(f"read_{name}" for name in names))
    script.add(f"attack = {attack(experiment.attack)}")
    script.add("data = task.x_train, task.y_train, task.x_test, task.y_test")
    script.add(f"s = {eigenpairs(experiment)}")
    double = ".double()" if experiment.precision == "float32" else ""
    end = ""
    if experiment.eigenpairs is not None:
        script.add(f"f = {fitted(experiment.replace(ridge=0.0))}  # at t = infinity")
        end = ", end=f.alpha"
    script.add(f"K_test = k({images('x_test', experiment)}, {images('x_train', experiment)}){double}")
    script.add(
        f"""
        sweep = ntk.eigenfeatures(k, *data, attack, s, K_test)
        classes = ntk.classify(sweep, {by_rule})  # 0 weak alone, 1 brittle, 2 in between, 3 robust
        null, chance = sweep.permuted(), sweep.majority

        bands = band_sums(k, s, *data, attack, K_test).curve()
        print(read_bands(bands, len(classes), chance, str(attack), task.m))
        print(read_sweep(sweep, classes, null, {rule.fdr!r}))

        print(read_feature(sweep, classes, {feature}))
        print(read_falling(falling(sweep, {rule.fdr!r})))
        print(read_tail(sweep, null))
        print(read_null(sweep, null))
        stuck = sweep.zero_gradient.sum() / sweep.right_before.sum()
        print(f"no gradient at {{stuck:.1%}} of the right answers")

        first = halves(sweep.labels)  # what is chosen is chosen here, and told of the other images
        chosen = ntk.classify(sweep.part(first), {by_rule})
        print(read_kept(kept_features(k, s, *data, attack, chosen, K_test), first, chance, s.whole))
        print(read_time(along_time(k, s, *data, attack, K_test=K_test{end}), first))
        """
    )
    if at:
        script.space()
        script.use("ntkcore.analysis.features.pictures", "feature_pictures")
        script.add(
            f"""
            for i in {literal(list(at.values()))}:  # a test image of each class
                image, label = task.x_test[i], task.y_test[i]
                p = feature_pictures(k, s, *data[:2], image, label, attack, {literal(tuple(features))}, classes)
                # p.pictures [{len(features)}, C, H, W]
                name, parts = task.classes[int(task.labels_test[i])], p.contributions.numpy()
                print(read_split(parts, classes, p.margin_before, p.margin_after, name, whole=s.whole))
            """
        )
    return str(script)
