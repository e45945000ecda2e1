"""Text of others on a page: names of classes, messages, folders, what stands in links, shown as it is.

Streamlit reads most of what it shows as Markdown: in messages, captions, headings, labels of buttons and links. Where
text that this app has not written goes there, it goes through ``plain``; options of lists and cells of tables are
plain text as they are::

    st.error(plain(error))
    st.markdown(f"True class: **{plain(name)}**")
"""

import re

from ntkcore.errors import brief

LONGEST = 2000
_SIGNS = re.compile(r"[\\`*\[\]<>$~]|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_])")  # _ between letters is a letter
_START = re.compile(r"^(\d{0,9})([#+\-=:|.)])")
# What is looked for once signs have been read: emoji and icons, addresses, arrows. U+2060 shows as nothing.
_JOINED = re.compile(r"(?<=:)(?=\S)|(?<=[wW]{3})(?=\.)|(?<=@)(?=\w)|(?<=[-<>~=])(?=[-=>])")


def plain(text: object) -> str:
    """Markdown that Streamlit shows as this very text, on one line, without links, pictures, formulas or markup."""
    words = _JOINED.sub("\u2060", brief(text, LONGEST))
    words = _SIGNS.sub(lambda sign: f"\\{sign[0]}", words)
    return _START.sub(r"\1\\\2", words)
