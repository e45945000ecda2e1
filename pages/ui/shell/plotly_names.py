"""Figures sooner: what plotly works out anew for every property that is set is worked out once.

It splits the property's name (``xaxis_title.text``) and finds what checks its value. Both follow from the name alone,
and take a quarter of the time in which a page's figures are made::

    remember()
"""

from functools import lru_cache, wraps
from typing import Any

from plotly import basedatatypes
from plotly.validator_cache import ValidatorCache


@lru_cache(1)
def remember() -> None:
    """Once for the process. Both functions are plotly's own: a version that has them no more goes on as it is."""
    kind, find = basedatatypes.BasePlotlyType, ValidatorCache.get_validator
    if hasattr(basedatatypes, "_str_to_dict_path_full"):
        basedatatypes._str_to_dict_path_full = lru_cache(8192)(basedatatypes._str_to_dict_path_full)
    if hasattr(kind, "_get_validator"):

        @wraps(kind._get_validator)
        def found(self: Any, name: str) -> Any:
            return find(self._path_str, name)  # without an import for each call

        kind._get_validator = found
