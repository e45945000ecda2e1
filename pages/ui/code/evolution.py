"""The lines of the Evolution page: nets in training, their accuracy and their tangent kernels on the way."""

from ntkcore.runs.specs import REGIME_NAMES, Evolution
from ntkcore.runs.stages.motion.frozen import FITTED
from pages.ui.code.pieces import INEXACT, attack, linearise, load, mapped, module, schedule
from pages.ui.code.script import Raw, Script, call


def evolution_lines(e: Evolution, share: float, look: int) -> str:
    """share: of the first velocity, below which a kernel is lazy; look: the epoch of the spectra."""
    script = Script()
    script.use("torch")
    script.use("ntkcore.analysis.evolution.motion", "centred_alignment", "decomposed", "inner_products")
    script.use("ntkcore.analysis.evolution.histories", "Histories")
    script.add(f"task = {load(e.data)}")
    script.add(f"x, y, n = task.x_train, task.y_train, {e.probe}  # of which the first n are looked at")
    script.add(f"fgsm, pgd = {attack(e.fgsm)}, {attack(e.pgd)}")
    regimes = {"standard": "None", "fgsm": "fgsm", "pgd": "pgd"}
    named = [f'"{REGIME_NAMES[r]}": {regimes[r]}' for r in e.regimes]
    script.add(f"regimes, seeds, epochs = {{{', '.join(named)}}}, {e.seeds}, {e.epochs}")
    every = f"0, {e.epochs + 1}" + (f", {e.every}" if e.every > 1 else "")
    script.add(f"looks = sorted({{*range({every}), epochs}})")
    inputs = mapped(e.inputs)
    if inputs is not None:
        script.add(f"inputs = {inputs}")
    script.define(
        f"""
        def scores(f, judged={e.judged}):
            found = {{}}
            test = task.x_test[:{e.judging}], task.y_test[:{e.judging}]
            for name, (images, labels) in (("test", test), ("train", (x[:judged], y[:judged]))):
                one, many = (attack(f, images, labels) for attack in (fgsm, pgd))
                right = {{"clean": one.right_before, "fgsm": one.right_after, "pgd": many.right_after}}
                found |= {{f"{{name}}_{{kind}}": value.numpy() for kind, value in right.items()}}
            return found
        """
    )
    made = module(e.net, Raw("seed"), script)
    net = call("ntk.finite_net", Raw("module.eval()"), *([] if inputs is None else [Raw("inputs")]))
    train = "ntk.train_epochs(f, x, y, schedule, epochs, adversary)"
    script.add(INEXACT)
    script.add("found, frozen = {}, {}" if e.freeze else "found = {}")
    script.add(
        """
        for regime, attack in regimes.items():
            adversary = None if attack is None else lambda f, x, y, draw: attack.perturb(f, x, y, attack.eps)[0]
            for seed in range(seeds):
        """
    )
    script.add(
        f"module = {made}\nf = {net}\nschedule = {schedule(e.schedule, Raw('seed'))}\nkernels = []\nfor c in {train}:",
        inside=8,
    )
    script.add('found[regime, seed, c.epoch, "score"] = scores(f)', inside=12)
    if e.freeze:
        _frozen(script, e)
    _moment(script, e)
    _sentences(script, e, share, look)
    return str(script)


def _moment(script: Script, e: Evolution) -> None:
    """The kernel after an epoch, and how far it is from those before it."""
    probe = "fgsm.perturb(f, x[:n], y[:n], fgsm.eps)[0]" if e.attacked else "x[:n]"
    script.add(
        f"""
        if c.epoch in looks:
            probe = {probe}
            theta = ntk.empirical_ntk(f.module, f.inputs(probe))  # [n, n, c, c]
            kernels.append(decomposed(theta.permute(0, 2, 1, 3).flatten(2).flatten(0, 1), {e.top}))  # of [n c, n c]
            inner = torch.stack([inner_products(earlier, kernels[-1]) for earlier in kernels])
            moment = {{"values": kernels[-1].values.numpy(), "inner": inner.numpy()}}
            moment["alignment"] = centred_alignment(theta.diagonal(dim1=2, dim2=3).mean(-1), y[:n])
        """,
        inside=12,
    )
    if _several(e):
        script.use("ntkcore.analysis.evolution.motion", "class_specialisation")
        script.add('moment["specialisation"] = class_specialisation(theta, y[:n]).numpy()', inside=16)
    script.add('found[regime, seed, c.epoch, "moment"] = moment', inside=16)


def _frozen(script: Script, e: Evolution) -> None:
    """Nets frozen after an epoch: trained on, and in closed form."""
    script.use("ntkcore.analysis.tangent", "fit_tangent")
    n = min(e.data.n_train, e.solved_on)
    script.add(f"if c.epoch in {set(e.freeze)!r}:", inside=12)
    linearise(script, "f", "c", inside=16)
    script.add(
        f"""
        *_, last = ntk.train_epochs(linear, x, y, schedule, epochs, adversary, start)
        frozen[regime, seed, c.epoch] = scores(linear)
        solved = fit_tangent(f, x[:{n}], y[:{n}], ridge={e.ridge!r})
        for how, g, judged in (("training on", linear, {e.judged}), ("closed form", solved, {min(n, FITTED)})):
            told = {{kind: float(right.mean()) for kind, right in scores(g, judged).items()}}
            print(f"{{regime}} training, seed {{seed}}, frozen after epoch {{c.epoch}}, {{how}}:", told)
        """,
        inside=16,
    )


def _sentences(script: Script, e: Evolution, share: float, look: int) -> None:
    """What they say together: curves as lists, and the page's sentences."""
    readings = ("accuracy", "claim", "concentration", "late_velocity", "lazy", "thresholds")
    script.use("ntkcore.readings.evolution", *(f"read_{name}" for name in readings))
    script.use("ntkcore.analysis.evolution.motion", "THRESHOLDS")
    script.space()
    script.add(
        f"""
        history = Histories(found, epochs, tuple(looks), tuple(regimes), seeds)
        for regime in regimes:
            curves = {{kind: history.accuracy(regime, "test", kind).mean for kind in ("clean", "fgsm", "pgd")}}
            curves |= {{"velocity": history.velocity(regime).mean, "distance": history.distance(regime)[0]}}
            curves |= dict(zip(("radius", "angle"), history.path(regime, "whole kernel")))
            curves |= {{"share": history.share(regime, {e.top}).mean, "rank": history.rank(regime).mean}}
            curves |= {{"alignment": history.alignment(regime).mean, "eigenvalues": history.values(regime, {look})[:5]}}
        """
    )
    if _several(e):
        script.add('curves |= {"specialisation": history.specialisation(regime).mean}', inside=4)
    script.add(
        """
        for name, curve in curves.items():
            print(f"{regime} training, {name}: {curve.tolist()}")
        """,
        inside=4,
    )
    script.space()
    script.add(
        f"""
        right = {{r: [history.right(r, "test", kind) for kind in ("clean", "pgd")] for r in regimes}}
        print(read_accuracy(right, str(pgd).split(",")[0]))
        lazy, late = {{r: history.lazy(r, {share!r}) for r in regimes}}, {{r: history.late(r) for r in regimes}}
        gathered = {{r: history.concentration(r, {e.top}) for r in regimes}}
        print(read_lazy(lazy, {share!r}, epochs))
        print(read_thresholds({{r: history.lazy_along(r, THRESHOLDS) for r in regimes}}, THRESHOLDS))
        print(read_late_velocity(late))
        print(read_concentration(gathered, epochs))
        print(read_claim(lazy, late, gathered, {share!r}))
        """
    )
    if e.freeze:
        script.use("numpy")
        script.use("ntkcore.readings.evolution", "Frozen", "read_frozen")
        script.add(
            f"""
            kinds = "test_clean", "test_pgd", "train_clean"
            for regime in regimes:
                rows = [
                    Frozen(t, *(np.stack([frozen[regime, seed, t][kind] for seed in range(seeds)]) for kind in kinds))
                    for t in {sorted(set(e.freeze))}
                ]
                whole = Frozen(epochs, *(history.right(regime, *kind.split("_")) for kind in kinds))
                print(f"{{regime}} training: {{read_frozen(rows, whole)}}")
            """
        )


def _several(e: Evolution) -> bool:
    return len(e.data.classes) != 2
