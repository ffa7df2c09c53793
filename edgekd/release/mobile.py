"""What the bundles of phones share: the model's bytes, its contract as JSON, test vectors as bytes, and what their accessors state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.release.contract import CONTRACT, DTYPES, checked, document, encoded, said, samples
from edgekd.release.facts import Facts, Model, Vectors

__all__ = ["CONTRACT", "DTYPES", "MODEL", "VECTORS", "Payload", "packed_vectors", "payload"]

#: Names of the files that an accessor reads, in the assets of Android and in the resources of Swift.
MODEL, VECTORS = "model.tflite", "vectors.bin"
#: An app carries test vectors up to this size, and one at least.
VECTOR_BYTES = 256 * 1024


@dataclass(frozen=True, eq=False)
class Payload:
    """``files``: what an accessor reads, by name. ``said``: what its template states of them."""

    model: Model
    files: Mapping[str, bytes]
    said: Mapping[str, Any]


def payload(facts: Facts, format: str) -> Payload:
    """The TFLite file of a release with what belongs to it in ``format``.

    Raises InputError where accessors cannot state it, or the file has changed.
    """
    model = facts.models["tflite"]
    content = checked(model)
    vectors = facts.vectors_for(format)
    packed, count = packed_vectors(vectors, model)
    tested = {
        "count": count,
        "exact": vectors.exact,
        "file": VECTORS,
        "layout": "a sample's input, then its outputs in order, little-endian; then the next sample",
    }
    files = {MODEL: content, CONTRACT: encoded(document(facts, model, MODEL, tested)), VECTORS: packed}
    return Payload(model, files, {**said(facts, model), "vectors": count, "exact": vectors.exact})


def packed_vectors(vectors: Vectors, model: Model) -> tuple[bytes, int]:
    """Test vectors as the interpreter's buffers have them, little-endian, sample by sample; and how many."""
    x = samples(vectors.x, model.input)
    outputs = [samples(out, head.output) for out, head in zip(vectors.outputs, model.heads, strict=True)]
    packed = [x[n] + b"".join(out[n] for out in outputs) for n in range(len(x))]
    count = max(1, min(len(packed), VECTOR_BYTES // len(packed[0])))
    return b"".join(packed[:count]), count
