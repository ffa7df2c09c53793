"""Archives are the same wherever they are made."""

from __future__ import annotations

import io
import zipfile

from edgekd.release.archive import PAGE, sha256, tar, zipped

FILES = {"b/model.tflite": bytes(range(256)) * 8, "a.json": b"{}" * 500, "d\u00e9.txt": b""}


def test_no_bytes_depend_on_a_zlib() -> None:
    """Two versions of it, or zlib-ng, compress the same content to other bytes."""
    made = zipped(FILES, mapped=frozenset({"b/model.tflite"}))
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {name: archive.read(name) for name in archive.namelist()} == FILES and archive.namelist() == sorted(FILES)
    assert made.index(FILES["b/model.tflite"]) % PAGE == 0
    assert made.index(FILES["a.json"]) % 4 == 0


def test_the_same_bytes_as_ever() -> None:
    again = dict(reversed(FILES.items()))
    assert zipped(FILES) == zipped(again) and tar(FILES) == tar(again)
    assert sha256(zipped(FILES))[:16] == "904c00c225a6db93"
    assert sha256(tar(FILES))[:16] == "88ba325ab09792bf"
