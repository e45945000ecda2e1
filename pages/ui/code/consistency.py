"""The lines of the Consistency page: eigenfeatures of several architectures on the same images."""

from collections.abc import Mapping

from ntkcore.runs.specs import ConsistencySpec, Experiment
from ntkcore.runs.stages.consistency import IMAGES
from pages.ui.code.pieces import attack, begin, images, kernel_of, mapped, net
from pages.ui.code.script import entries, literal


def consistency_lines(experiments: Mapping[str, Experiment], one: str, two: str) -> str:
    """Whole kernels, eigenspaces and classes of features of all of them; feature by feature those of two."""
    first = next(iter(experiments.values()))
    script, top, rule = begin(first, kernel=False), ConsistencySpec.model_fields["top"].default, first.rule
    names = ("alignment_matrix", "feature_gradients", "match_features", "matched_gradient_cosine", "name_pairs")
    script.use("ntkcore.analysis.consistency", *names, "subspace_overlap", "tally", "vector_overlap")
    script.use("ntkcore.analysis.tradeoff", "counts")
    script.use(
        "ntkcore.analysis.readings_consistency", "read_alignment", "read_matched", "read_overlap", "read_tallies"
    )
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

        for centred in (True, False):
            alignment = alignment_matrix(list(K.values()), centred)
            print(alignment.tolist())
            print(read_alignment(names, alignment, centred))

        ranks = [pairs.rank for pairs in s.values()]
        ks, top = counts(min(task.n, *ranks)), min({top}, *ranks)
        vectors = [pairs.vectors for pairs in s.values()]
        overlaps = {{pair: subspace_overlap(vectors[a], vectors[b], ks) for pair, a, b in name_pairs(names)}}
        for pair, overlap in overlaps.items():
            print(pair, dict(zip(ks, overlap.tolist())))
        print(read_overlap(ks, overlaps, task.n))

        one, two = {literal(one)}, {literal(two)}
        partner = match_features(s[one].vectors, s[two].vectors, top)
        overlap = vector_overlap(s[one].vectors, s[two].vectors, top)[range(top), partner]
        x, y, x_test, y_test = data
        of_one, of_two = (
            feature_gradients(kernels[name], s[name], x, y, x_test[:{IMAGES}], y_test[:{IMAGES}], range(top))
            for name in (one, two)
        )
        cosines = matched_gradient_cosine(of_one, of_two, partner)
        print("partners", partner.tolist())
        print("cosines", cosines.tolist())
        print(read_matched(one, two, partner, overlap, cosines))
        """
    )
    return str(script)
