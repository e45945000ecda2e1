"""The lines of the Consistency page: kernels and eigenfeatures of several architectures on the same images."""

from collections.abc import Mapping

from ntkcore.runs.specs import Experiment, GradientsSpec
from pages.ui.code.pieces import attack, begin, images, kernel_of, mapped, net
from pages.ui.code.script import entries, literal


def consistency_lines(experiments: Mapping[str, Experiment], one: str, two: str) -> str:
    """Whole kernels, eigenspaces and classes of features of all of them; feature by feature those of two."""
    first = next(iter(experiments.values()))
    script, rule = begin(first, kernel=False), first.rule
    top, seen = (GradientsSpec.model_fields[name].default for name in ("top", "images"))
    script.use("ntkcore.analysis.consistency.agreement", "agreement")
    names = ("feature_gradients", "match_features", "matched_gradient_cosine", "name_pairs", "tally")
    script.use("ntkcore.analysis.consistency.similarity", *names)
    readings = ("read_alignment", "read_answer", "read_matched", "read_overlap", "read_tallies")
    script.use("ntkcore.readings.consistency", *readings)
    script.add(entries("nets", {name: net(e.net) for name, e in experiments.items()}))
    if first.inputs != "raw":
        script.add(f"inputs = {mapped(first.inputs)}")
    kernel = kernel_of("net", first.kind, first.inputs)
    double = ".double()" if first.precision == "float32" else ""
    script.add(
        f"""
        attack = {attack(first.attack)}
        data = task.x_train, task.y_train, task.x_test, task.y_test
        x, x_test = {images("x_train", first)}, {images("x_test", first)}

        names, kernels, K, s, tallies = list(nets), {{}}, {{}}, {{}}, {{}}
        for name, net in nets.items():
            k = kernels[name] = {kernel}
            K[name] = k(x)
            s[name] = ntk.spectrum(K[name])
            sweep = ntk.eigenfeatures(k, *data, attack, s[name], k(x_test, x){double})
            tallies[name] = tally(sweep, {rule.fdr!r}, {rule.keep!r})
            print(name, tallies[name])
        print(read_tallies(tallies))

        agreed = agreement(list(K.values()))
        print(read_answer(names, agreed))
        print("leading eigenvectors", agreed.ks.tolist())
        for (pair, _, _), overlap in zip(name_pairs(names), agreed.overlap.mean):
            print("overlap of", pair, overlap.tolist())
        print(read_overlap(names, agreed))
        for centred, alignment in ((True, agreed.alignment), (False, agreed.uncentred)):
            print(alignment.mean.tolist())
            print(read_alignment(names, agreed, centred))

        one, two = {literal(one)}, {literal(two)}
        top = min({top}, *(pairs.rank for pairs in s.values()))
        match = match_features(s[one].vectors, s[two].vectors, top)
        gradients = [feature_gradients(kernels[name], s[name], x, x_test[:{seen}], range(top)) for name in (one, two)]
        cosines = matched_gradient_cosine(*gradients, match).numpy()
        print("partners", match.partner.tolist())
        print("cosines", cosines.tolist())
        print(read_matched(one, two, match, cosines, task.n))
        """
    )
    return str(script)
