"""The Python lines that reproduce a page's result with the library alone.

::

    lines(experiment, "K = k(task.x_train)")
"""

from ntkcore.runs.specs import Experiment


def lines(experiment: Experiment, last: str) -> str:
    """A runnable script: data, net, kernel and attack of the experiment, then the page's own lines."""
    spec, net, attack = experiment.data, experiment.net, experiment.attack
    fields = {"name": spec.name, "classes": spec.classes, "n_train": spec.n_train, "n_test": spec.n_test}
    fields |= {name: value for name in ("size", "seed", "digest") if (value := getattr(spec, name)) is not None}
    data = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    activation = "" if net.activation == "relu" else f", activation={net.activation!r}"
    inputs = "" if experiment.inputs == "raw" else f", inputs=ntk.input_map({experiment.inputs!r}, task.x_train)"
    fgsm = attack.steps == 1 and not attack.random_start
    start = f", random_start=True, seed={attack.seed}" if attack.random_start else ""
    norm = "" if attack.norm == "linf" else f", norm={attack.norm!r}"
    make = (
        f"ntk.fgsm({attack.eps!r}{norm})"
        if fgsm
        else f"ntk.pgd({attack.eps!r}, steps={attack.steps}, step_size={attack.step_size!r}{norm}{start})"
    )
    return (
        "import ntkcore as ntk\n\n"
        f"task = ntk.load(ntk.DataSpec({data}))\n"
        f"net = ntk.{net.family}(depth={net.depth}, W_std={net.W_std!r}, b_std={net.b_std!r}{activation})\n"
        f"k = ntk.kernel_fn(net, kind={experiment.kind!r}{inputs})\n"
        f"attack = {make}\n"
        f"{last}\n"
    )
