"""The lines of the Runs page: what is in the cache, and one result of it with its arrays."""

from pathlib import Path

from ntkcore.runs.store import Artifact
from pages.ui.code.script import Script, literal


def runs_lines(root: Path, picked: Artifact | None) -> str:
    """picked: the result that is chosen in the table."""
    script = Script()
    script.use("ntkcore.runs.stages", "Store")  # the stages, too: what a store may hold
    script.add(f"store = Store({literal(str(root))})")
    if picked is None:
        script.add(
            """
            entries = store.entries()
            print(f"{len(entries)} results, {sum(entry.bytes for entry in entries) / 1e6:.1f} MB")
            for entry in entries:
                print(f"{entry.stage} {entry.key}, {entry.bytes / 1e6:.2f} MB: {entry.words}")
            """
        )
        return str(script)
    script.add(
        f"""
        run = store.get({literal(picked.stage)}, {literal(picked.key)})
        print(run.words or run.stage)
        for name, array in run.arrays.items():
            print(name, tuple(array.shape), array.flatten()[:3].tolist())
        """
    )
    return str(script)
