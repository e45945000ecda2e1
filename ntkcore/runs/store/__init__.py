"""The store of results. Begin with ``store``: what lies where, and what is promised.

One artifact on disk is in ``artifact``, the whole folder in ``cachedir``, damage in ``incidents``, temporary folders
and refusals in ``folders``, an artifact to take away in ``zips``::

    Store("cache").get("kernel", key)       # an Artifact, or None
"""

from ntkcore.runs.store.artifact import Artifact
from ntkcore.runs.store.places import SHIPPED, default_max_bytes, default_root
from ntkcore.runs.store.store import Store, declare

__all__ = ["SHIPPED", "Artifact", "Store", "declare", "default_max_bytes", "default_root"]
