"""What no recipe may say in [compress]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgekd.profile.strict import Problem
from edgekd.recipe.schema_compress import Compress
from edgekd.recipe.weights import named

#: Of each method: keys of which it takes exactly one, and those that it may have as well.
KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "channels": (("macs",), ("importance", "spread", "samples")),
    "low_rank": (("energy", "rank"), ()),
    "sparsity": (("share", "pattern"), ()),
}
EXAMPLES = {"channels": "macs = 0.5", "low_rank": "energy = 0.9", "sparsity": 'pattern = "2:4"'}


def compression(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems of [compress], in itself and beside other tables."""
    table: Compress | None = sections.get("compress")
    if table is None:
        return
    needed, _ = KEYS[table.method]
    given = [key for key in needed if getattr(table, key) is not None]
    if len(given) != 1:
        found = f"method = {table.method!r} with {' and '.join(given) if given else 'neither ' + ' nor '.join(needed)}"
        if len(needed) == 1:
            found = f"method = {table.method!r} without {needed[0]}"
        yield Problem("compress", found, f"one of: {', '.join(needed)}", f"{'delete one' if given else EXAMPLES[table.method]}")
    for other, (theirs, also) in KEYS.items():
        for key in (*theirs, *also):
            if other != table.method and getattr(table, key) is not None:
                yield Problem(
                    f"compress.{key}", f"has no meaning for method = {table.method!r}", f"that of method = {other!r}", f"delete {key}"
                )
    if table.method == "channels" and table.importance in ("l2", "bn_scale") and table.samples is not None:
        yield Problem("compress.samples", f"has no meaning for importance = {table.importance!r}", "that of taylor", "delete samples")
    if table.method == "low_rank" and table.steps > 1:
        yield Problem("compress.steps", f"{table.steps}, but a layer is factored once", "1 for low_rank", "delete steps")
    if table.pattern is not None and int(table.pattern.partition(":")[0]) >= int(table.pattern.partition(":")[2]):
        yield Problem("compress.pattern", f"{table.pattern!r} leaves all weights", "N below M", 'pattern = "2:4"')
    if table.checkpoint is not None:
        yield from named("compress.checkpoint", table.checkpoint, "student.safetensors")
    if sections.get("intermediates") is not None:
        yield Problem("compress", "beside [intermediates], which teach the student before it is compressed", "one of the two", "delete one")
