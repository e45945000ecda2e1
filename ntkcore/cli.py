"""The command line: runs what the app runs and fills the same cache.

::

    ntkcore presets                       # or, where nothing is installed: python -m ntkcore presets
    ntkcore run --preset start            # or: run SPEC.json
    ntkcore transfer --preset story       # or: transfer STORY.json
    ntkcore evolve --preset evolution     # or: evolve EVOLUTION.json; goes on where it was stopped
    ntkcore report --preset start         # the paper's claims with their verdicts, as one HTML file
    ntkcore prepare --preset start        # all that a talk shows of it: the claims, and the pages that it opens
    ntkcore cache ls | verify | clear
    ntkcore kernel SPEC.json --out K.npz  # K [n, n], K_test [m, n], labels
    ntkcore kernel SPEC.json --out K.npy --scheduler tcp://10.0.0.1:8786    # K alone, by the workers of Dask
    ntkcore import FILE.npz               # own data: prints the fields for a SPEC

Ctrl-C stops between two tiles and leaves nothing half-written. What takes long or much memory is asked for first, or
wants ``--yes``.
"""

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np

from ntkcore import data
from ntkcore.analysis.evolution.histories import Histories
from ntkcore.analysis.spectrum import effective_rank
from ntkcore.errors import Cancelled, NTKError, brief, reason
from ntkcore.kernels import kernel_to_file
from ntkcore.runs import costs, memory, specs, stages
from ntkcore.runs.consent import cost_in_words
from ntkcore.runs.device import choose_device
from ntkcore.runs.presets import PRESETS, Preset
from ntkcore.runs.rates import calibrate
from ntkcore.runs.scheduler import workers
from ntkcore.runs.store import SHIPPED, Store
from ntkcore.runs.terminal import Bar, admitted, check_places, data_folder
from ntkcore.writing import check_place, refused_in_words, replacing

OTHER_OUT = "Choose another --out."
LARGEST_SPEC = 4 << 20  # bytes of a file that holds an experiment
MOST_MEMORY = 1e9  # MB; a petabyte
LONGEST_LINE = 1000  # characters of what is printed of names that others have chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 a sentence on stderr, 130 interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before we were started
            setattr(sys, name, io.StringIO())
        elif isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")  # for terminals that do not know every letter
    options = _parser().parse_args(arguments)
    try:
        check_places(options.cache, options.data)
        with ExitStack() as options.until_the_end:
            options.until_the_end.enter_context(data_folder(options.data))
            status = options.action(options) or 0
        sys.stdout.flush()
        return status
    except (KeyboardInterrupt, Cancelled):
        print("\nStopped. What was finished before is kept.", file=sys.stderr)
        return 130
    except NTKError as error:
        print(error, file=sys.stderr)
        return 1
    except (MemoryError, RuntimeError) as error:
        if not memory.is_lack(error):
            raise
        print(memory.lack(error=error), file=sys.stderr)
        return 1
    except OSError as error:
        if isinstance(sys.stdout, io.TextIOWrapper):  # what is still to be written finds no fault
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output has left: nothing more to say
            return 0
        print(brief(f"{error.filename or 'The output'} cannot be used: {reason(error)}. Check it."), file=sys.stderr)
        return 1


class Parser(argparse.ArgumentParser):
    """One whose complaints, which quote what was typed, are short and without control characters."""

    def error(self, message: str) -> NoReturn:
        super().error(brief(message))


def _parser() -> argparse.ArgumentParser:
    name = "ntkcore" if Path(sys.argv[0]).stem == "ntkcore" else "python -m ntkcore"
    parser = Parser(prog=name, description="Kernels, eigenfeatures and attacks.")
    _places(parser, cache=None, data=None, device="auto")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, action: Callable[..., int | None], help_: str, of_experiment: bool = True) -> Parser:
        one = commands.add_parser(name, help=help_)
        if of_experiment:
            _experiment_options(one)
        one.set_defaults(action=action)
        return one

    command("run", _run, "compute every stage of an experiment")
    command("transfer", _transfer, "train finite nets and attack them through the kernel")
    command("evolve", _evolve, "train nets and follow their tangent kernels, epoch by epoch")
    page = command("report", _report, "write an experiment's claims, verdicts and figures as one HTML file")
    page.add_argument("--out", default="report.html", help="the .html to write (report.html)")
    command("prepare", _prepare, "compute all that the app shows in a talk, so that nobody waits")
    command("presets", _presets, "list the presets", of_experiment=False)
    cache = command("cache", _cache, "what is in the cache", of_experiment=False)
    cache.add_argument("what", choices=("ls", "verify", "clear"))
    kernel = command("kernel", _kernel, "write an experiment's kernel matrices to an .npz")
    kernel.add_argument(
        "--out", required=True, help="the .npz to write; an .npy: of the training images alone, by tiles"
    )
    kernel.add_argument("--memory", type=float, default=512.0, help="megabytes for the tiles of an .npy (512)")
    kernel.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, whose workers compute the tiles of an .npy")
    own = command("import", _import, "check an .npz of your own images and take it in", of_experiment=False)
    own.add_argument("file", help="x_train, y_train, x_test, y_test")
    for one in commands.choices.values():  # the same options also behind the command
        _places(one, cache=argparse.SUPPRESS, data=argparse.SUPPRESS, device=argparse.SUPPRESS)
    return parser


def _places(parser: argparse.ArgumentParser, *, cache: str | None, data: str | None, device: str) -> None:
    """Where results and data lie, and where the work runs."""
    parser.add_argument("--cache", default=cache, help="folder of results (default: NTK_CACHE; `cache ls` names it)")
    parser.add_argument("--data", default=data, help="data root (default: NTK_DATA or the user's cache folder)")
    parser.add_argument("--device", default=device, choices=("auto", "cpu", "cuda"))


def _experiment_options(command: argparse.ArgumentParser) -> None:
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("spec", nargs="?", help="an experiment as JSON (missing fields take their defaults)")
    which.add_argument("--preset", metavar="NAME", help="an experiment of the list that `presets` prints")
    command.add_argument("--yes", action="store_true", help="run it also when it takes long or much memory")


def _experiment(options: argparse.Namespace) -> specs.Experiment:
    if options.preset is not None:
        return _preset(options.preset).experiment
    return specs.experiment_from_json(_text(options.spec))


def _story(options: argparse.Namespace) -> specs.Story:
    """The story of a preset or a file; a preset without one has the default story of its kernel."""
    if options.preset is None:
        return specs.Story.model_validate_json(_text(options.spec))
    preset = _preset(options.preset)
    return preset.story or specs.Story(kernel=preset.experiment.ntk())


def _evolution(options: argparse.Namespace) -> specs.Evolution:
    """The evolution of a preset or a file; a preset without one has the default one of its images."""
    if options.preset is None:
        return specs.Evolution.model_validate_json(_text(options.spec))
    preset = _preset(options.preset)
    if preset.evolution is not None:
        return preset.evolution
    e = preset.experiment
    return specs.Evolution(data=e.data, inputs=e.inputs, probe=min(specs.Evolution().probe, e.data.n_train))


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise NTKError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def _text(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST_SPEC + 1)
    except (OSError, ValueError) as error:
        raise NTKError(
            f"Cannot read {path or 'an empty name'}: {reason(error)}. Give a JSON file, or --preset NAME."
        ) from None
    if len(text) > LARGEST_SPEC:
        raise NTKError(f"{path} is larger than {LARGEST_SPEC >> 20} MB, so it is no experiment. Give a JSON file.")
    return text


def _out(path: str, *endings: str) -> Path:
    """The file to write; refused now where it could not be."""
    file = f"an {' or '.join(endings)} file"
    if not path.strip():
        raise NTKError(f"--out is empty; give the name of {file}.")
    out = Path(path)
    with refused_in_words(out, OTHER_OUT):
        check_place(out)
    if out.suffix not in endings:
        raise NTKError(f"--out is {path}; give the name of {file}.")
    return out


def _admit(options: argparse.Namespace, store: Store, wanted: Sequence[specs.StageSpec], most: float = 0.0) -> None:
    """Ask about what is long or large, hold the rest to its memory, and have workers do beforehand what they can."""
    options.until_the_end.enter_context(admitted(wanted, store, options.yes, most))
    with Bar("workers") as bar:
        stages.beforehand(wanted, store, bar, options.data, options.device)


def _run(options: argparse.Namespace) -> None:
    experiment = _experiment(options)
    print(brief(experiment.in_words(), LONGEST_LINE))
    store = Store(options.cache, shipped=SHIPPED)
    _admit(options, store, experiment.stages())
    accuracies = {}
    for spec in experiment.stages():
        start = time.perf_counter()
        with Bar(spec.stage) as bar:
            artifact = stages.result(spec, store, bar, options.data, options.device)
        seconds = time.perf_counter() - start
        print(f"{spec.stage:<10} {artifact.bytes / 1e6:8.1f} MB {seconds:8.1f} s  {artifact.path}", flush=True)
        if spec == experiment.predict():
            accuracies = {name: float(artifact.arrays[name].double().mean()) for name in ("right", "attack_right")}
    clean, attacked = accuracies.values()
    print(f"clean accuracy {clean:.3f}, under {experiment.attack} {attacked:.3f}")


def _report(options: argparse.Namespace) -> None:
    try:
        from ntkcore.runs.report import report
        from ntkcore.runs.talk import story_specs
    except ImportError as error:
        raise _without_figures("For the report", error) from None
    e, out, store = _experiment(options), _out(options.out, ".html"), Store(options.cache, shipped=SHIPPED)
    _admit(options, store, story_specs(e))
    with Bar("report") as bar:
        page = report(e, store, bar, options.data, options.device)
    with refused_in_words(out, OTHER_OUT), replacing(out, begins=b"<!doctype html>") as file:
        file.write(page.encode())
    print(out)


def _prepare(options: argparse.Namespace) -> None:
    try:
        from ntkcore.runs.talk import ready_in_words, talk_specs
    except ImportError as error:
        raise _without_figures("To prepare a talk", error) from None
    e, store = _experiment(options), Store(options.cache, shipped=SHIPPED)
    presets = [] if options.preset is None else [_preset(options.preset)]
    wanted = talk_specs(e, presets)
    _admit(options, store, wanted)
    seconds = [part.seconds for part in costs.estimate_all(wanted, calibrate(store.root), store)]
    requests = [stages.request(spec, options.device, options.data) for spec in wanted]
    with Bar("prepare") as bar:
        stages.execute(stages.batch(requests, seconds), store, bar)
    print(ready_in_words(True, len(presets)))


def _without_figures(what: str, error: ImportError) -> NTKError:
    return NTKError(f"{what} {error.name} is needed, which is not installed: pip install 'ntkcore[figures]'.")


def _transfer(options: argparse.Namespace) -> None:
    """A line for each net as it is ready: accuracy clean and under every source, at the largest radius."""
    story, store = _story(options), Store(options.cache, shipped=SHIPPED)
    if not story.targets():
        raise NTKError("The story has no nets. Give widths, or nets of another kind in outside.")
    wanted = story.transfers()
    _admit(options, store, list(wanted.values()))
    print(f"{brief(story.predictor.in_words(), LONGEST_LINE)}; accuracy at eps {max(story.eps):.4g}")
    sources, largest = story.sources(), story.eps.index(max(story.eps))
    print(f"{'net':<28} {'seed':>4} {'clean':>6} " + " ".join(f"{source:>11}" for source in sources) + "  cosine")
    for group, nets in story.targets().items():
        for net in nets:
            found = {}
            for source in sources:
                with Bar(group) as bar:
                    spec = wanted[group, net.seed, source]
                    found[source] = stages.result(spec, store, bar, options.data, options.device).arrays
            clean = float(found[sources[0]]["right_before"].double().mean())
            left = [float(found[source]["right_after"][largest].double().mean()) for source in sources]
            cosine = float(found["kernel_fgsm"]["cosine"].nanmean())
            shares = " ".join(f"{share:>11.3f}" for share in left)
            print(f"{group:<28} {net.seed:>4} {clean:>6.3f} {shares}  {cosine:.3f}", flush=True)


def _evolve(options: argparse.Namespace) -> None:
    """A line for each epoch of each run as it is ready. What is in the cache is only told."""
    e, store = _evolution(options), Store(options.cache, shipped=SHIPPED)
    wanted, frozen, solved = e.wanted(), e.frozen(), e.solved()
    everything = [*wanted.values(), *frozen.values(), *solved.values()]
    _admit(options, store, everything)
    cost = cost_in_words(sum(costs.estimate_all(everything, calibrate(store.root), store), costs.NOTHING))
    print(f"{brief(e.in_words(), LONGEST_LINE)}: {cost} to go; every epoch is kept, and a run can be stopped")
    print(f"{'training':<9} {'seed':>4} {'epoch':>5} {'clean':>6} {'FGSM':>6} {'PGD':>6}  velocity   rank")
    found: dict[tuple[str, int, int, str], dict[str, np.ndarray]] = {}
    for name, spec in wanted.items():
        with Bar(name[0]) as bar:
            arrays = stages.result(spec, store, bar, options.data, options.device).arrays
        found[name] = {key: arrays[key].numpy() for key in arrays if key != "vectors"}
        regime, seed, epoch, kind = name
        if kind == "score" and (regime, seed, epoch, "moment") in wanted:
            continue  # told with its kernel
        history = Histories(found, e.epochs, e.looks(), e.regimes, e.seeds)
        line = f"{regime:<9} {seed:>4} {epoch:>5} {_shares(found[regime, seed, epoch, 'score'])}"
        if kind == "moment":
            at = e.looks().index(epoch)
            speed = f"{history.motion(regime, seed).velocity[at - 1]:>9.2e}" if at else " " * 9
            line += f" {speed} {effective_rank(arrays['values']):>6.1f}"
        print(line, flush=True)
    for how, group in (("trained on", frozen), ("closed form", solved)):
        for (regime, seed, epoch), spec in group.items():
            with Bar(f"{regime}, frozen") as bar:
                arrays = stages.result(spec, store, bar, options.data, options.device).arrays
            print(f"{regime:<9} {seed:>4} {epoch:>5} {_shares(arrays)}  frozen there, {how}", flush=True)


def _shares(arrays: Mapping[str, Any]) -> str:
    """The three accuracies on the test images."""
    return " ".join(f"{np.asarray(arrays[f'test_{kind}']).mean():>6.3f}" for kind in ("clean", "fgsm", "pgd"))


def _presets(options: argparse.Namespace) -> None:
    for preset in PRESETS.values():
        print(f"{preset.name:<12} {preset.title}\n{'':<13}{preset.experiment.in_words()}\n{'':<13}{preset.look_for}")


def _cache(options: argparse.Namespace) -> int:
    store, status = Store(options.cache, shipped=SHIPPED), 0
    if options.what == "clear":
        count = store.clear()
        print(f"{count} artifact{'' if count == 1 else 's'} deleted.")
    elif options.what == "verify":
        with Bar("verify") as bar:
            report = store.verify(bar)
        print(f"{report.checked} artifacts read, {report.bytes / 1e6:.1f} MB.")
        for incident in report.broken:
            print(brief(incident))
        status = 0 if report.ok else 1
    else:
        for entry in store.entries():
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
            print(f"{entry.stage:<10} {entry.key} {when} {entry.bytes / 1e6:9.1f} MB  {brief(entry.words)}")
        print(f"{store.size() / 1e6:.1f} MB in {brief(store.root)}")
    if others := store.left_alone():
        print(brief(others))
    return status


def _kernel(options: argparse.Namespace) -> None:
    experiment, out = _experiment(options), _out(options.out, ".npz", ".npy")
    if out.suffix == ".npy":
        _kernel_by_tiles(options, experiment)
        return
    if options.scheduler is not None:
        raise NTKError("Workers of a scheduler compute the tiles of an .npy; --out is an .npz. Name an .npy.")
    spec, store = experiment.kernel(), Store(options.cache, shipped=SHIPPED)
    _admit(options, store, [spec])
    with Bar("kernel") as bar:
        arrays = stages.result(spec, store, bar, options.data, options.device).arrays
    task = data.load(experiment.data, root=options.data)
    with refused_in_words(out, OTHER_OUT), replacing(out, begins=b"PK") as file:
        np.savez_compressed(
            file,
            K=arrays["K"].numpy(),
            K_test=arrays["K_test"].numpy(),
            y_train=task.y_train.numpy(),
            y_test=task.y_test.numpy(),
            spec=specs.canonical(spec),
        )
    print(f"{brief(out)}: K {tuple(arrays['K'].shape)}, K_test {tuple(arrays['K_test'].shape)}")


def _kernel_by_tiles(options: argparse.Namespace, experiment: specs.Experiment) -> None:
    """K of the training images as large as the disk allows; the same command goes on where it was stopped."""
    spec = experiment.kernel()
    if spec.checkpoint is not None:
        raise NTKError(
            "By tiles only kernels of infinite nets are written. Choose an .npz for the kernel of a checkpoint."
        )
    if not 0 < options.memory <= MOST_MEMORY:
        raise NTKError(f"--memory is {options.memory:g} MB; it must be above 0 and at most {MOST_MEMORY:g}.")
    task = data.load(experiment.data, root=options.data)
    x = task.x_train.to("cpu" if options.scheduler is not None else choose_device(options.device), spec.dtype)
    with TemporaryDirectory() as nothing_kept:  # such a kernel is neither taken from the cache nor put there
        _admit(options, Store(nothing_kept), [spec], 1e6 * options.memory + x.nbytes)
    with nullcontext() if options.scheduler is None else workers(options.scheduler) as executor, Bar("kernel") as bar:
        K = kernel_to_file(stages.kernel_of(spec, task), x, options.out, 1e6 * options.memory, bar, _tell, executor)
    print(f"{brief(options.out)}: K {K.shape}")


def _tell(sentence: str) -> None:
    print(brief(sentence), file=sys.stderr)


def _import(options: argparse.Namespace) -> None:
    own = data.import_npz(options.file, root=options.data)
    fields: dict[str, Any] = {"name": "own", "digest": own.digest, "classes": own.classes}  # as the app has them
    fields["n_train"], fields["n_test"] = data.info(data.DataSpec(**fields), options.data).usual(own.classes)
    print(f"{brief(own, LONGEST_LINE)}\nUse it as: {json.dumps({'data': fields})}")
