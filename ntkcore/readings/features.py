"""Eigenfeatures read aloud: bands of the index, classes of features, what is left when some are kept.

Every sentence is computed from the run's own numbers with their 95 % intervals. What was picked by looking at test
labels was picked on one half of the test images and is told on the other (``analysis.features.halves``); where an
interval covers both answers, the sentence says that it cannot tell::

    read_bands(judged["bands"].curve(), features=1000, chance=0.5, attack="FGSM, eps 8/255", m=2000)
    read_sweep(sweep, classes, sweep.permuted(), fdr=0.05)      # "Of 1000 features 49 are useful: 4 robust ..."
"""

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from ntkcore.analysis.features.classes import BETWEEN, BRITTLE, FEWEST, ROBUST, WEAK, WORDS, Falling
from ntkcore.analysis.features.eigenfeatures import Sweep
from ntkcore.analysis.features.label_test import MODEST, Null, cutoff, images_needed, smallest_passing
from ntkcore.analysis.features.tradeoff import Curve, Judged, bands
from ntkcore.analysis.intervals import Band, Resampling, share_band
from ntkcore.analysis.spectrum import Spectrum
from ntkcore.readings.kernel import known_part
from ntkcore.readings.words import p_words, percent, percent_within, signed, span, within


def read_bands(curve: Curve, features: int, chance: float, attack: str, m: int) -> str:
    """What each dyadic band of the index is worth alone against guessing, clean and under attack; curve over ``bands``.

    A band is called right more often than guessing where the whole interval lies above ``chance``.
    """
    spans, clean, attacked = bands(features), curve.clean, curve.attacked
    more, less = clean.low > chance, clean.high < chance
    stand, fall = more & (attacked.low > chance), more & (attacked.high < chance)
    words = (
        (stand, "right more often than guessing, also under attack"),
        (fall, "right more often than guessing, but under attack less often"),
        (more & ~stand & ~fall, "right more often than guessing, but under attack not to be told from it"),
        (~more & ~less, "not to be told from guessing"),
        (less, "right less often than guessing"),
    )
    parts = []
    for which, verdict in words:
        if which.any():
            example = np.flatnonzero(which)[0 if which is stand else -1]
            shares = f"{_share(clean, example)} clean, {_share(attacked, example)} attacked"
            parts.append(f"{_named(which, spans)} {verdict} ({span(*spans[example])}: {shares})")
    where = f"Each band alone, on {m} test images, where guessing gives {percent(chance)}"
    return f"**{_message(stand, fall, more, attack, spans)}** {where}: {'; '.join(parts)}."


def _message(stand: np.ndarray, fall: np.ndarray, more: np.ndarray, attack: str, spans: list[tuple[int, int]]) -> str:
    if not more.any():
        return "With these test images no band of features can be told from guessing."
    if stand.any() and fall.any():
        last, first = np.flatnonzero(stand)[-1], np.flatnonzero(fall)[0]
        if last < first:
            until, since = (span(*spans[at]) for at in (last, first))
            return f"Useful bands of features up to {until} survive {attack}, those from {since} on do not."
        return f"Some useful bands of features survive {attack}, others do not."
    if stand.any():
        return f"No useful band of features is seen to fall to {attack}."
    if fall.any():
        return f"No useful band of features is seen to survive {attack}."
    return f"Whether the useful bands of features survive {attack}, these test images cannot tell."


def _named(which: np.ndarray, spans: list[tuple[int, int]]) -> str:
    """``"the 3 bands from 1 to 7 and the band 16-31 are"``."""
    names = []
    for start, stop in _runs(which):
        whole = spans[start][0], spans[stop - 1][1]
        name = f"the band {span(*whole)}" if stop - start == 1 else f"the {stop - start} bands {span(*whole)}"
        names.append(name)
    verb = "is" if which.sum() == 1 else "are"
    return f"{_listed(names)} {verb}"


def _runs(which: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end (before) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], which, [False]]).astype(int)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _share(band: Band, k: int) -> str:
    return percent_within(band.mean[k], band.low[k], band.high[k])


def features_in_words(s: Spectrum) -> str:
    """ "1000 features", or "the 500 leading of 10,000 features, which hold 97.3 % of the trace,"."""
    if s.whole:
        return f"{s.rank} features"
    return f"the {known_part(s, 'features')},"


# -- one by one ----------------------------------------------------------------------------------------------------


def read_sweep(sweep: Sweep, classes: np.ndarray, null: Null, fdr: float) -> str:
    """How many features of each class there are and where, what chance alone would give, and whether m is enough."""
    useful = int((classes != WEAK).sum())
    counts = [
        f"{(classes == kind).sum()} {WORDS[kind]}{_where(classes == kind)}" for kind in (ROBUST, BETWEEN, BRITTLE)
    ]
    be = "is" if useful == 1 else "are"
    told = f": {counts[0]}, {counts[1]} and {counts[2]}" if useful else ""
    by_chance = null.useful(fdr)
    low, high = np.quantile(by_chance, [0.025, 0.975], method="inverted_cdf")
    mean = f"{by_chance.mean():.2g} on average ({low:.0f} to {high:.0f} in 95 % of {len(by_chance)} permutations)"
    fewer = "fewer, " if useful > high else ""
    verdict = ", so that the useful ones may all be chance" if 0 < useful <= high else ""
    return (
        f"Of {features_in_words(sweep.spectrum)} {useful or 'none'} {be} useful at a false discovery rate of "
        f"{percent(fdr)}{told}. With permuted test labels the same test finds {fewer}{mean}{verdict}."
        f"{_too_few(sweep, fdr)}"
    )


def _where(which: np.ndarray) -> str:
    index = np.flatnonzero(which)
    if not len(index):
        return ""
    return f" (index {span(int(index[0]), int(index[-1]) + 1)})"


def _too_few(sweep: Sweep, fdr: float) -> str:
    """That m is too small for a feature right MODEST times as often as chance to pass, and which m would do."""
    labels, features = sweep.labels.cpu().numpy(), len(sweep.p_values)
    classes = 1 + max(int(labels.max()), int(sweep.answers.max()))
    smallest, modest = smallest_passing(labels, cutoff(sweep.p_values, fdr)), MODEST / classes
    if smallest <= modest:
        return ""
    takes = f"it takes {percent(smallest)}" if smallest <= 1 else "none can"
    return (
        f" {sweep.m} test images are too few to tell: a feature right on {percent(modest)} of them, {MODEST} times as "
        f"often as chance, does not pass ({takes}); {images_needed(classes, features, fdr)} balanced ones would do."
    )


def read_null(sweep: Sweep, null: Null) -> str:
    """How many features lie beyond what permuted labels give to any of them, to both sides."""
    rho = sweep.usefulness.cpu().numpy()
    most, least = np.quantile(null.usefulness.max(1), 0.975), np.quantile(null.usefulness.min(1), 0.025)
    above, below = int((rho > most).sum()), int((rho < least).sum())
    be, those = "is" if above == 1 else "are", "it knows" if below == 1 else "they know"
    other = f": {those} the labels too, the wrong way round" if below else ""
    return (
        f"In 95 % of {len(null.usefulness)} permutations of the test labels all features are right on {percent(least)} "
        f"to {percent(most)} of the images. With the true labels {above or 'none'} {be} right more often and "
        f"{below or 'none'} less often{other}."
    )


def read_feature(sweep: Sweep, classes: np.ndarray, i: int) -> str:
    """One feature: its class, and its shares of right answers with their intervals."""
    useful, robust = (share_band(right[:, [i]].cpu().numpy()) for right in (sweep.right_before, sweep.right_after))
    return (
        f"**Feature {i}** ({WORDS[classes[i]]}): eigenvalue {float(sweep.spectrum.values[i]):.3g}; right on "
        f"{_share(useful, 0)} of the test images ({p_words(sweep.p_values[i])}), on {_share(robust, 0)} under attack."
    )


def read_falling(falling: Falling) -> str:
    """Whether robustness falls along the index, among useful features alone."""
    band, count = falling.spearman, len(falling.index)
    if not band.known[0]:
        why = "too few" if count < FEWEST else "and there is no order"
        return (
            f"{count or 'No'} feature{' is' if count == 1 else 's are'} useful on one half of the test images: {why} "
            "to say how robustness goes along the index."
        )
    low, high = band.low[0], band.high[0]
    verdict = "falls" if high < 0 else "rises" if low > 0 else "cannot be told to fall or to rise"
    return (
        f"The share of right answers that a useful feature keeps {verdict} along the index: Spearman "
        f"{within(band.mean[0], low, high, '+.2f')}, over {count} features that are useful on one half of the test "
        "images, with their shares on the other."
    )


def read_tail(sweep: Sweep, null: Null, start: int = 20) -> str:
    """The features from ``start`` on, on average: do they know the labels, and does anything survive?"""
    features = len(sweep.usefulness)
    if features <= start + 1 or sweep.m < 2:
        return ""
    rho, gamma = (_mean_share(right[:, start:]) for right in (sweep.right_before, sweep.right_after))
    permuted = null.usefulness[:, start:].mean(1)
    chance = permuted.mean(), *np.quantile(permuted, [0.025, 0.975])
    verdict = (
        "more than chance"
        if rho[0] > chance[2]
        else "less than chance"
        if rho[0] < chance[1]
        else "not to be told from chance"
    )
    mean, by_chance, left = (
        f"{100 * share:.2f} % [{100 * low:.2f}, {100 * high:.2f}]" for share, low, high in (rho, chance, gamma)
    )
    return (
        f"The {features - start} features from index {start} on are right on {mean} of the test images on average: "
        f"{verdict}, which gives {by_chance} with permuted labels. Under attack they are right on {left}."
    )


def _mean_share(right: Tensor) -> tuple[float, float, float]:
    """Mean over features of the shares of right answers [m, F]; features share the images, which are drawn anew."""
    return _mean_within(right.double().mean(1).cpu().numpy())


def _mean_within(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of values [m], and its interval over images drawn anew."""
    draw = Resampling(len(values), 1)
    band = draw.band(draw.mean(values[None])[:, None])
    return float(band.mean[0]), float(band.low[0]), float(band.high[0])


def read_split(
    parts: np.ndarray,
    classes: np.ndarray,
    before: float,
    after: float,
    label: str,
    top: int = 20,
    whole: bool = True,
) -> str:
    """Which features an attack on the whole kernel works through: the change of one image's margin, split two ways;
    whole: the features are all that there are, not the leading ones alone."""
    change, weak = parts.sum(), parts[classes == WEAK].sum()
    robust, between, brittle = (parts[classes == kind].sum() for kind in (ROBUST, BETWEEN, BRITTLE))
    other = (
        ""
        if np.isclose(change, after - before, rtol=1e-4, atol=1e-6)
        else f" (against the class that competes with it after the attack, by {signed(change, '+.2f')})"
    )
    what = "the whole kernel" if whole else "the sum of the leading features"
    most = ", the larger part" if weak * change > change * change / 2 else ""
    told = (before, after, parts[:top].sum(), parts[top:].sum(), robust, between, brittle, weak)
    start, end, first, last, robust, between, brittle, weak = (signed(one, "+.2f") for one in told)
    return (
        f"The attack on {what} moves the margin of this {label} from {start} to {end}{other}: the sum of what each "
        f"feature's own output changes by. The first {top} features sum to {first}, the {len(parts) - top} behind them "
        f"to {last}. By class: robust {robust}, in between {between}, brittle {brittle}; those weak alone, none of "
        f"which can be told from guessing by itself, together {weak}{most}."
    )


# -- chosen on one half, reported on the other -----------------------------------------------------------------------


def read_kept(judged: Mapping[str, Judged], first: np.ndarray, chance: float, whole: bool = True) -> str:
    """Accuracy of the robust, of the brittle, and of other features together; first [m]: the half that chose them;
    whole: they are all that there are, not the leading ones alone."""
    if first.all():
        return _no_half(first)
    every = "All features" if whole else "All leading features"
    other = {kind: one.curve(~first) for kind, one in judged.items()}
    words = [f"Classes and k were chosen on {_half(first)}; what follows is told of the other {(~first).sum()}"]
    for kind in ("robust", "brittle"):
        if len(other[kind].k):
            words.append(f"{_together(kind, int(other[kind].k[-1]))} {_last(other[kind], chance)}")
        else:
            words.append(f"No feature was {kind} there")
    if len(other["robust"].k) and len(other["rest"].k):
        words.append(f"All but the robust ones {_last(other['rest'], chance)}")
    words.append(f"{every} {_last(other['top'], chance)}")
    best = int(judged["top"].after[first].mean(0).argmax())
    k, attacked = int(other["top"].k[best]), other["top"].attacked
    if best == len(attacked.mean) - 1:
        words.append("No smaller number of the largest ones did better under attack")
    else:
        gain = _gain(judged["top"].after[~first], best, f"what {every.lower()} keep")
        many = f"Of the k largest, k = {k} did best under attack"
        words.append(f"{many}; it keeps {_share(attacked, best)}, {gain}")
    return ". ".join(words) + "."


def read_time(judged: Judged, first: np.ndarray) -> str:
    """The robust moment of training, chosen on the half ``first`` [m] and told on the other."""
    if first.all():
        return _no_half(first)
    best, other = int(judged.after[first].mean(0).argmax()), judged.curve(~first)
    at = f"t = {judged.k[best]:.3g}" if np.isfinite(judged.k[best]) else "the end"
    if best == 0:
        at = f"{at}, the earliest of all that were tried (any earlier time gives the same answers)"
    gain = "" if best == len(other.k) - 1 else f", {_gain(judged.after[~first], best, 'what is left at the end')}"
    beyond = ""
    if not np.isfinite(judged.k[-1]):
        beyond = f" Between t = {judged.k[-2]:.3g} and the end lie times that the leading features do not tell."
    return (
        f"On {_half(first)} the prediction was best under attack at {at}. On the other {(~first).sum()} it is right on "
        f"{_share(other.clean, best)} there, on {_share(other.attacked, best)} under attack{gain}. At the end it is "
        f"right on {_share(other.clean, -1)}, on {_share(other.attacked, -1)} under attack.{beyond}"
    )


def _half(first: np.ndarray) -> str:
    return f"{first.sum()} of the {len(first)} test images (every other one of each class)"


def _no_half(first: np.ndarray) -> str:
    images = f"{len(first)} test image{'' if len(first) == 1 else 's'}"
    return f"{images} cannot be split in two: what is chosen on one half could not be told on the other."


def _together(kind: str, count: int) -> str:
    return f"The {count} {kind} features together" if count > 1 else f"The only {kind} feature"


def _last(curve: Curve, chance: float) -> str:
    """The last point of a curve, its clean accuracy against guessing."""
    clean = curve.clean
    verdict = (
        "more often than guessing"
        if clean.low[-1] > chance
        else "less often than guessing"
        if clean.high[-1] < chance
        else "not to be told from guessing"
    )
    be = "is" if curve.k[-1] == 1 else "are"
    return f"{be} right on {_share(clean, -1)} ({verdict}), on {_share(curve.attacked, -1)} under attack"


def _gain(after: np.ndarray, best: int, than: str) -> str:
    """Accuracy under attack of predictor ``best`` over the last one's, on the same images: after [m, P]."""
    gain, low, high = _mean_within(after[:, best].astype(float) - after[:, -1])
    points = "{} points [{}, {}]".format(*(signed(100 * one, "+.1f") for one in (gain, low, high)))
    if low > 0:
        return f"more than {than} ({points})"
    if high < 0:
        return f"less than {than} ({points})"
    return f"not to be told from {than} ({points})"
