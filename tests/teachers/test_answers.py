from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.teachers.answers import beside, check_kind, columns, indexed, named

DATA = ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("cat", "dog", "fox"), None),
        (("fox", "cat", "dog"), (1, 2, 0)),
        (("Fox", "CAT", "dog"), (1, 2, 0)),
        (("ant", "fox", "bee", "dog", "cat"), (4, 3, 1)),
        (("CAT", "fox", "cat", "dog"), (2, 3, 1)),  # the same letters count more
    ],
)
def test_columns_by_name(names: tuple[str, ...], found: tuple[int, ...] | None) -> None:
    assert columns(names, len(names), DATA, "here") == found


def test_columns_without_names_are_the_datas() -> None:
    assert columns(None, 3, DATA, "here") is None
    with pytest.raises(InputError, match=r"(?s)here: the teacher has 5 outputs and does not name them.*3 outputs.*labels.txt"):
        columns(None, 5, DATA, "here")


def test_missing_label_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"(?s)has no label 'fox'\n  expected: perhaps 'foxes'; the teacher knows cat, dog, foxes"):
        columns(("cat", "dog", "foxes"), 3, DATA, "here")
    with pytest.raises(InputError, match=r"has no label 'cat'\n  expected: one of 0, 1, 2"):
        columns(("0", "1", "2"), 3, DATA, "here")


def test_labels_that_leave_doubt() -> None:
    with pytest.raises(InputError, match=r"2 outputs of the teacher are called 'cat'"):
        columns(("cat", "cat", "dog", "fox"), 4, DATA, "here")
    with pytest.raises(InputError, match=r"2 labels for 3 outputs"):
        columns(("cat", "dog"), 3, DATA, "here")
    with pytest.raises(InputError, match=r"two classes of the data have the same name"):
        columns(("cat", "dog"), 2, ("cat", "CAT"), "here")


def test_labels_beside_a_model(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    file.touch()
    (tmp_path / "saved").mkdir()
    assert beside(file) is None
    (tmp_path / "labels.txt").write_bytes("\ufeffKäse\r\ndog \n\n".encode())
    assert beside(file) == beside(tmp_path / "saved") == ("Käse", "dog")
    (tmp_path / "saved" / "labels.txt").write_text("fox\ncat")
    assert beside(tmp_path / "saved") == ("fox", "cat")


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"a\n\nb", "has empty lines"), (b"\xff\xfe\x00", "cannot be read")])
def test_bad_label_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(InputError, match=rf"labels.txt: {message}.*\n  expected: .*one name a line"):
        beside(tmp_path / "m.keras")


@pytest.mark.parametrize("text", ['["a", "b"]', '{"1": "b", "0": "a"}', "a\nb\n", "a, b"])
def test_named(text: str) -> None:
    assert named(text, "here") == ("a", "b")


def test_bad_names() -> None:
    with pytest.raises(InputError, match="here: the entry is no JSON"):
        named("[a", "here")
    with pytest.raises(InputError, match=r"indices of its labels are 1, 2, …\n  expected: 0, 1, 2"):
        indexed({1: "a", 2: "b"}, "here")


def test_kinds_of_outputs() -> None:
    logits, probable = np.array([[3.0, -1.0], [0.0, 2.0]]), np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)
    check_kind(logits, None, "here")
    check_kind(logits, "logits", "here")
    check_kind(probable, "logits", "here")
    check_kind(probable, "probabilities", "here")
    with pytest.raises(InputError, match=r'(?s)here: the teacher answers probabilities.*output = "probabilities"'):
        check_kind(probable, None, "here")
    with pytest.raises(InputError, match=r'outputs from -1 to 3 are no probabilities\n.*\n  to mend:  output = "logits"'):
        check_kind(logits, "probabilities", "here")
    with pytest.raises(InputError, match="outputs are not finite"):
        check_kind(np.array([[1.0, np.nan]]), None, "here")
