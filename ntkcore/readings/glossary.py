"""The words of the field, each explained once: pages and the list of words take what they say of a term from here.

A term is found in a sentence by its pattern, so that a page can explain it where it stands first::

    terms_in("the effective rank is 3.2")       # ("effective rank",)
    GLOSSARY["effective rank"].markdown         # "**Effective rank.** How many equal ... *Roy & Vetterli 2007.*"
"""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache


@dataclass(frozen=True)
class Term:
    """title: as the list has it. says: one or two sentences, true of what is computed here. pattern: how it stands in
    sentences, a regular expression. source: where it comes from, of those that are less known."""

    title: str
    says: str
    pattern: str
    source: str = ""

    @property
    def markdown(self) -> str:
        return f"**{self.title}.** {self.says}" + (f" *{self.source}.*" if self.source else "")

    @cached_property
    def found(self) -> re.Pattern[str]:
        return re.compile(self.pattern)


GLOSSARY: dict[str, Term] = {
    "NTK": Term(
        "NTK, neural tangent kernel",
        "For two images, the inner product of the gradients of a network's output with respect to its weights. For a "
        "network of infinite width it stays the same in training, and the trained network predicts as a kernel "
        "machine with this kernel does.",
        r"\bNTK\b|\bntk\b|[Nn]eural tangent kernel",
        "Jacot et al. 2018, arXiv 1806.07572",
    ),
    "NNGP": Term(
        "NNGP",
        "The kernel of the outputs themselves: the covariance, for two images, of the outputs of an infinitely wide "
        "network with random weights.",
        r"\b(NNGP|nngp)\b",
        "Lee et al. 2018, arXiv 1711.00165",
    ),
    "empirical kernel": Term(
        "Empirical kernel",
        "The tangent kernel of one network of finite width, with the weights that it has at the time. Unlike the "
        "infinite network's it changes in training.",
        r"\b[Ee]mpirical\b|own tangent kernel|network's own",
    ),
    "parameterisation": Term(
        "NTK parameterisation",
        "Weights are drawn with variance 1 and scaled inside the layer by the square root of the number of inputs. "
        "In the standard parameterisation the weights themselves are that small: the same network at first, but "
        "training steps do other things to it.",
        r"\b[Pp]arameterisation\b",
        "Jacot et al. 2018",
    ),
    "twin": Term(
        "Twin",
        "A finite net with the layers of the infinite one. The wider it is, the closer its tangent kernel at first "
        "is to the infinite network's.",
        r"\b[Tt]wins?\b",
    ),
    "training time": Term(
        "Training time t",
        "Training by infinitely small gradient steps on the squared loss, from zero output. By time t, the part of "
        "the labels on an eigenvector of eigenvalue λ is learned up to the share 1 − exp(−tλ).",
        r"\b[Tt]raining time\b|\btime t\b|\bt = ",
    ),
    "ridge": Term(
        "Ridge",
        "A number added to each eigenvalue of the kernel where the prediction divides by them, which damps small "
        "ones. With 0, all training images are fitted exactly.",
        r"\b[Rr]idge\b",
    ),
    "one-hot": Term(
        "One-hot",
        "With more than two classes, a label is a row of numbers, 1 for the image's own class and 0 for each other. "
        "With two classes it is −1 for the first and +1 for the second.",
        r"\b[Oo]ne-hot\b",
    ),
    "energy": Term(
        "Energy of the labels",
        "The share of the training labels' sum of squares that lies along an eigenvector of the kernel. Over all "
        "eigenvectors the shares add up to 1.",
        r"\b[Ee]nergy\b",
    ),
    "eigenvector": Term(
        "Eigenvalue, eigenvector",
        "The kernel between all training images, as a symmetric table, is a sum of as many patterns as there are "
        "images. An eigenvector is such a pattern, one number an image, and its eigenvalue says how much of the "
        "kernel it is.",
        r"\b[Ee]igen(value|vector|pair)s?\b",
    ),
    "effective rank": Term(
        "Effective rank",
        "How many equal eigenvalues would be spread as evenly as these: the exponential of the entropy of their "
        "shares in the sum. It lies between 1 and the number of eigenvalues.",
        r"\b[Ee]ffective ranks?\b",
        "Roy & Vetterli 2007",
    ),
    "feature": Term(
        "Eigenfeature, feature",
        "What one eigenvector of the kernel adds to the prediction for an image. Without ridge and after endless "
        "training, the prediction is the sum of all of them.",
        r"\b([Ee]igen)?[Ff]eatures?\b",
        "Tsilivis & Kempe 2022, section 4",
    ),
    "index": Term(
        "Index",
        "The number of a feature or an eigenvector: 0 belongs to the largest eigenvalue, 1 to the second largest, "
        "and so on.",
        r"\b[Ii]nd(ex|ices)\b",
    ),
    "useful": Term(
        "Useful",
        "A feature whose answers on the test images fit the labels better than chance explains: an exact test "
        "against shuffled labels, at a chosen false discovery rate.",
        r"\b[Uu]seful(ness)?\b",
        "After Ilyas et al. 2019, arXiv 1905.02175",
    ),
    "robust": Term(
        "Robust",
        "A useful feature that, when it is attacked itself, keeps at least a chosen share of its right answers (one "
        "half, unless set otherwise).",
        r"\b[Rr]obust\b",
        "After Ilyas et al. 2019",
    ),
    "brittle": Term(
        "Brittle, in between",
        "A brittle feature is useful, but keeps at most 5 % of its right answers when it is attacked: useful and not "
        "robust, as the paper says. Useful features that are neither robust nor brittle are called in between.",
        r"\b[Bb]rittle\b|\b[Ii]n between\b",
        "Tsilivis & Kempe 2022, section 4",
    ),
    "weak": Term(
        "Weak alone",
        "A feature that is not found to be useful by itself. There are many of them, and together they can still "
        "carry much of a prediction and of an attack.",
        r"\b[Ww]eak alone\b",
    ),
    "false discovery rate": Term(
        "FDR, false discovery rate",
        "The share, on average, of the features called useful that are so by chance alone. The procedure of "
        "Benjamini and Hochberg keeps it at or below the chosen rate where the tests do not depend on each other.",
        r"\b[Ff]alse discovery rate\b|\bFDR\b",
        "Benjamini & Hochberg 1995",
    ),
    "guessing": Term(
        "Guessing, chance",
        "What is right by always naming the class that most of the test images have. With two classes of as many "
        "images that is one half.",
        r"\b([Gg]uess(ing)?|[Cc]hance)\b",
    ),
    "interval": Term(
        "95 % interval",
        "The two numbers in brackets: had the images or the seeds been drawn again and again, such an interval would "
        "hold the true value about 95 times in 100.",
        r"\b95 %",
    ),
    "Spearman": Term(
        "Spearman's rank correlation",
        "Whether one number rises (+1) or falls (−1) with another, by their ranks alone. 0: neither.",
        r"\bSpearman\b|\b[Rr]ank correlation\b",
    ),
    "eps": Term(
        "Radius, eps, 8/255",
        "How far an attack may go. Pixels reach from 0 to 1, so 1/255 is one of the 255 steps of an ordinary image "
        "file and 8/255 is eight of them.",
        r"\beps\b|\b1/255\b|\b[\d.]+/255\b|\b[Rr]adi(us|i)\b",
    ),
    "linf": Term(
        "ℓ∞ and ℓ2",
        "Two ways to measure a perturbation. ℓ∞ (linf) is its largest change of any pixel; ℓ2 is the square root of "
        "all squared changes added up.",
        r"ℓ∞|ℓ2|\blinf\b|\bl2\b|\b[Bb]all\b",
    ),
    "FGSM": Term(
        "FGSM, fast gradient sign method",
        "An attack of one step: each pixel goes up or down by the whole radius, whichever raises the loss by its "
        "gradient. In ℓ2 the step follows the gradient itself; what leaves the range of pixels is cut off.",
        r"\bFGSM\b",
        "Goodfellow et al. 2015, arXiv 1412.6572",
    ),
    "PGD": Term(
        "PGD, projected gradient descent",
        "An attack of several smaller gradient steps; after each one the image is brought back to within the radius "
        "and the range of pixels.",
        r"\bPGD\b",
        "Madry et al. 2018, arXiv 1706.06083",
    ),
    "AutoAttack": Term(
        "AutoAttack",
        "A stronger attack: APGD, FAB and (within ℓ∞) Square one after the other, each on the images that are still "
        "right.",
        r"\bAutoAttack\b",
        "Croce & Hein 2020, arXiv 2003.01690",
    ),
    "white box": Term(
        "White box",
        "An attack that sees the network it attacks: it follows that network's own gradient.",
        r"\b[Ww]hite.box\b",
    ),
    "transfer": Term(
        "Transfer",
        "Images that were perturbed to fool one predictor are shown to another one, which the attack has never seen.",
        r"\b[Tt]ransfers?\b",
        "Papernot et al. 2016, arXiv 1605.07277",
    ),
    "margin": Term(
        "Margin",
        "How far an output is on the side of the true class; below 0 it is wrong. Two classes: label times output; "
        "more: the true class's output minus the largest of the others.",
        r"\b[Mm]argins?\b",
    ),
    "velocity": Term(
        "Velocity of the kernel",
        "1 minus the cosine between the kernels of two epochs, one look after the other. 0: the kernel has not turned.",
        r"\b[Vv]elocit(y|ies)\b",
        "After Fort et al. 2020, arXiv 2010.15110",
    ),
    "lazy": Term(
        "Lazy",
        "A network whose kernel hardly moves any more. Here: from the epoch on from which the velocity stays below a "
        "chosen share of the first one.",
        r"\b[Ll]az(y|ier)\b",
        "Chizat et al. 2019, arXiv 1812.07956",
    ),
    "mass": Term(
        "Mass of the top k",
        "The sum of the squares of the k largest eigenvalues, as a share of the sum of all squares. The share of the "
        "trace is the same without squares.",
        r"\b[Mm]ass\b|\btrace\b",
        "Tsilivis & Kempe 2022, section 5",
    ),
    "probe": Term(
        "Probe images",
        "The training images, the same ones at every epoch, between which a network's kernel is taken while it trains.",
        r"\b[Pp]robe\b",
    ),
    "frozen": Term(
        "Frozen, linearised",
        "From an epoch on, the network is replaced by its first-order expansion around the weights that it has then. "
        "What is trained from there on has a kernel that no longer changes.",
        r"\b([Ff]rozen|[Ff]reez(e|ing)|[Ll]inearis(e|ed|ation))\b",
        "Loo et al. 2022, arXiv 2210.12030",
    ),
    "CKA": Term(
        "CKA, centred alignment",
        "The cosine between two kernels after centring, which takes out what all pairs of images have in common. 1: "
        "one is a multiple of the other.",
        r"\bCKA\b|\b[Cc]entred alignment\b",
        "Cortes et al. 2012; Kornblith et al. 2019, arXiv 1905.00414",
    ),
    "overlap": Term(
        "Overlap of eigenspaces",
        "Which share of the space of the k leading eigenvectors two kernels have in common. 1: the same space, "
        "whatever the order and the signs of its eigenvectors.",
        r"\b[Oo]verlap\b|\b[Ee]igenspaces?\b",
    ),
}


@lru_cache(1024)  # a page asks for the same again with every control that moves
def terms_in(text: str) -> tuple[str, ...]:
    """Which terms stand in a text, in the order in which they do."""
    places = {name: found.start() for name, term in GLOSSARY.items() if (found := term.found.search(text))}
    return tuple(sorted(places, key=lambda name: places[name]))
