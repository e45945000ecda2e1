"""The report: an experiment as one HTML file, with the paper's claims, their verdicts, figures, settings and code.

It opens without a network and prints well. plotly.js and the figures travel in it compressed (gzip, base 85: 1.9 MB)
and are unpacked by the browser; where that fails, every figure still has its words::

    store = Store("cache")
    page = report(experiment, store)             # computes what is missing, then str: the whole page
"""

import base64
import gzip
import html
import json
import platform
from collections.abc import Iterable

import plotly
import torch
from plotly.offline import get_plotlyjs

from ntkcore.figures.drawing.palette import MUTED, PAPER, TEXT
from ntkcore.figures.drawing.template import alt_text
from ntkcore.kernels.blocks import Progress
from ntkcore.runs.claims import CLAIMS
from ntkcore.runs.specs import Experiment, canonical
from ntkcore.runs.stages import portion, result
from ntkcore.runs.store import Store
from ntkcore.version import __version__

CITATION = (
    "N. Tsilivis and J. Kempe, <i>What Can the Neural Tangent Kernel Tell Us About Adversarial Robustness?</i>, "
    "NeurIPS 2022, arXiv:2210.05577"
)
# Base 85 as of Python's base64.b85encode, gunzipped: plotly.js, then the figures as JSON, with NUL between them.
_UNPACK = """
const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
const value = new Uint8Array(128);
for (let i = 0; i < 85; i++) value[letters.charCodeAt(i)] = i;
(async () => {
  const text = document.getElementById("packed").textContent.trim();
  const bytes = new Uint8Array(Math.ceil(text.length / 5) * 4);
  for (let i = 0, at = 0; i < text.length; i += 5) {
    let number = 0;
    for (let j = 0; j < 5; j++) number = number * 85 + (i + j < text.length ? value[text.charCodeAt(i + j)] : 84);
    for (let shift = 24; shift >= 0; shift -= 8) bytes[at++] = (number / 2 ** shift) & 255;
  }
  const length = Math.floor(text.length / 5) * 4 + Math.max(0, text.length % 5 - 1);
  const stream = new Blob([bytes.subarray(0, length)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts = (await new Response(stream).text()).split("\\u0000");
  (0, eval)(parts[0]);
  parts.slice(1).forEach((part, i) => {
    const figure = JSON.parse(part);
    figure.config = { displaylogo: false, responsive: true };
    Plotly.newPlot("figure-" + i, figure);
  });
})();
"""


def report(
    e: Experiment,
    store: Store,
    progress: Progress | None = None,
    data_root: str | None = None,
    device: str = "auto",
) -> str:
    """The whole page. Raises NTKError in words where a result cannot be computed, Cancelled from progress."""
    figures, parts = [], []
    for i, claim in enumerate(CLAIMS):
        share = portion(progress, i / len(CLAIMS), (i + 1) / len(CLAIMS))
        found = {name: result(spec, store, share, data_root, device) for name, spec in claim.specs(e).items()}
        judged, figure = claim.judge(e, found), claim.figure(e, found, False)
        figures.append(figure.to_json())
        alt = html.escape(alt_text(figure))
        parts.append(
            f"<section><h2>{i + 1}. {html.escape(claim.title)}</h2>"
            f'<p><b class="number">{html.escape(judged.number)}</b> {html.escape(judged.of_what)}</p>'
            f"<p><b>{html.escape(judged.verdict)}</b>. {html.escape(judged.reason)}</p>"
            f'<figure><div id="figure-{i}" role="img" aria-label="{alt}"></div><figcaption>{alt}</figcaption></figure>'
            f"<p class='rule'>How this was judged: {html.escape(claim.rule)}</p></section>"
        )
    return _page(e, parts, _packed([get_plotlyjs(), *figures]))


def _packed(texts: Iterable[str]) -> str:
    """Texts without a NUL in them, compressed, in letters that HTML bears inside a script."""
    return base64.b85encode(gzip.compress("\0".join(texts).encode(), 9, mtime=0)).decode("ascii")


def _page(e: Experiment, parts: list[str], packed: str) -> str:
    versions = {"ntkcore": __version__, "torch": torch.__version__, "plotly": plotly.__version__}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    code = (
        "from ntkcore.runs.claims import CLAIMS\nfrom ntkcore.runs.specs import "
        "experiment_from_json\nfrom ntkcore.runs.stages import result\nfrom ntkcore.runs.store import Store\n\n"
        f"e = experiment_from_json({canonical(e)!r})\nstore = Store()\nfor claim in CLAIMS:\n"
        "    found = {name: result(spec, store) for name, spec in claim.specs(e).items()}\n"
        "    print(claim.title, claim.judge(e, found))\n"
    )
    settings = json.dumps(json.loads(canonical(e)), indent=1)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(e.in_words())}</title><style>body{{margin:2rem auto;max-width:56rem;padding:0 1rem;"
        f"background:{PAPER.light};color:{TEXT.light};font:17px/1.5 'Source Sans 3','Segoe UI',sans-serif}}"
        f"figure{{margin:1rem 0}}figcaption,.rule{{color:{MUTED.light}}}.number{{font-size:1.8rem}}"
        "section{break-inside:avoid;margin-top:2.5rem}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
        "</style></head><body>"
        "<h1>What the neural tangent kernel says about adversarial robustness</h1>"
        f"<p>{html.escape(e.in_words())}</p><p>The claims are those of {CITATION}. In brackets: 95 % intervals.</p>"
        f"{''.join(parts)}<section><h2>Settings and code</h2><pre>{html.escape(settings)}</pre>"
        f"<pre>{html.escape(code)}</pre><p>{html.escape(told)}, Python {platform.python_version()}.</p></section>"
        f'<script type="text/plain" id="packed">{packed}</script><script>{_UNPACK}</script></body></html>'
    )
