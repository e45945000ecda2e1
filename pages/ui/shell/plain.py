"""Text of others on a page: names of classes, messages, folders, what stands in links, shown as it is.

Streamlit reads most of what it shows as Markdown: in messages, captions, headings, labels of buttons and links. Where
text that this app has not written goes there, it goes through ``plain``; options of lists and cells of tables are
plain text as they are::

    st.error(complaint(error))                      # the library's sentence, in the words of the controls
    st.markdown(f"True class: **{plain(name)}**")
"""

import re

from ntkcore.errors import brief

LONGEST = 2000
_SIGNS = re.compile(r"[\\`*\[\]<>$~]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")  # _ between letters is a letter
_START = re.compile(r"^(\d{0,9})([#+\-=:|.)])")
# What is looked for once signs have been read: emoji and icons, addresses, arrows. U+2060 shows as nothing.
_JOINED = re.compile(r"(?<=:)(?=\S)|(?<=[wW]{3})(?=\.)|(?<=@)(?=\w)|(?<=[-<>~=])(?=[-=>])")

# What a sentence of the library calls a field, and what stands on its control here.
FIELDS = {
    "name": "The choice",
    "classes": "The list of classes",
    "n_train": "The number of training images",
    "n_test": "The number of test images",
    "order": "The order of the draw",
    "seed": "The draw",
    "size": "The image side",
    "digest": "The fingerprint",
    "family": "The architecture",
    "depth": "The depth",
    "W_std": "The weight scale W_std",
    "b_std": "The bias scale b_std",
    "activation": "The activation",
    "kind": "The kernel",
    "inputs": "The choice of inputs",
    "precision": "The precision",
    "leading": "The number of features that are computed",
    "ridge": "The ridge",
    "norm": "The measure of the radius",
    "eps": "The radius",
    "steps": "The number of steps",
    "step_size": "The step size",
    "random_start": "The random start",
    "fdr": "The false discovery rate",
    "keep": "The share of right answers kept",
    "width": "The width",
    "widths": "The list of widths",
    "seeds": "The number of seeds",
    "outside": "The list of other networks",
    "strong": "AutoAttack",
    "plain": "The list of plain attacks",
    "loss": "The loss",
    "lr": "The learning rate",
    "lr_unit": "The unit of the learning rate",
    "momentum": "The momentum",
    "until": "The loss to stop at",
    "batch": "The batch",
    "centred": "The choice of f - f_0",
    "parameterisation": "The parameterisation",
    "init": "The choice of initial weights",
    "regimes": "The list of trainings",
    "epochs": "The number of epochs",
    "every": "The number of epochs between kernels",
    "judged": "The number of training images judged",
    "tested": "The number of test images judged",
    "probe": "The number of probe images",
    "attacked": "The attacked probe",
    "freeze": "The list of epochs to freeze at",
    "solved_on": "The number of images of the closed form",
    "top": "The number of leading eigenpairs",
}
_FIELD = re.compile(rf"(?:^|(?<=[.] ))(?:[a-z]+\.)*({'|'.join(FIELDS)})(?:\[\d+\])?(?= (?:is|has) )")


def complaint(error: object) -> str:
    """A sentence of the library as Markdown, with the page's words for what it calls by the names of fields."""
    return plain(_FIELD.sub(lambda field: FIELDS[field[1]], str(error)).replace("lam_max", "λmax"))


def plain(text: object) -> str:
    """Markdown that Streamlit shows as this very text, on one line, without links, pictures, formulas or markup."""
    words = _JOINED.sub("\u2060", brief(text, LONGEST))
    words = _SIGNS.sub(lambda sign: f"\\{sign[0]}", words)
    return _START.sub(r"\1\\\2", words)
