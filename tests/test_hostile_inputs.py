"""What tools/fuzz_inputs.py has found: each is refused with a message, or passed over where a reader takes what is whole."""

# size: one case for each finding
from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd import report
from edgekd.arrays import BROKEN, read_npz
from edgekd.convert import load_samples, read_model
from edgekd.data import numpy_file
from edgekd.errors import DeviceError, InputError
from edgekd.mcu.boards import read_port
from edgekd.plan.latency_work import work_of
from edgekd.quant import io as graphs
from edgekd.quantize.data import open_data
from edgekd.report.searched import beside
from edgekd.runtimes.border import Border
from edgekd.teachers import outputs_file
from edgekd.transports import Ran
from edgekd.transports.lock import held
from edgekd.worker import heard
from tests import examined_runs

GOLDEN = Path(__file__).parent / "golden" / "branches_per_tensor"
DEEP = "[" * 100_000 + "]" * 100_000
#: What a head may say: numpy reads it as a piece of Python, and would allocate what it claims.
HEADS = {
    "cut off": b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, (",
    "no Python": b"{'descr': '|u1' 'x",
    "pickled": b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    "exbibytes": b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999999999999999,), }",
    "negative": b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "no number": b"{'descr': '<f8', 'fortran_order': False, 'shape': ('a',), }",
    "no type": b"{'descr': '<q9', 'fortran_order': False, 'shape': (1,), }",
}


def npy(head: bytes) -> bytes:
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(16)


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def saved(array: np.ndarray) -> bytes:
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


@pytest.mark.parametrize("head", HEADS.values(), ids=list(HEADS))
def test_the_head_of_an_array(head: bytes, tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=npy(head), outputs=npy(head), x_train=npy(head), y_train=npy(head), x_test=b"", y_test=b"")
    with pytest.raises(BROKEN):
        read_npz(path, ("x",), 1 << 30)
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        load_samples(graphs.load(GOLDEN), path)
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        open_data(str(path), None, count=4, seed=0)
    with pytest.raises(InputError, match=r"a\.npz: cannot be read"):
        outputs_file.load(root=tmp_path, file="a.npz")
    with pytest.raises(InputError, match=r"a\.npz: "):
        numpy_file.load(path)
    (tmp_path / "outputs.npy").write_bytes(npy(head))
    with pytest.raises(InputError, match=r"outputs\.npy: "):
        outputs_file.load(root=tmp_path, file="outputs.npy")


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", x=b"just bytes", y=b"")
    with pytest.raises(InputError, match="cannot be read"):
        open_data(str(path), None, count=4, seed=0)
    with pytest.raises(InputError, match="cannot be read"):
        load_samples(graphs.load(GOLDEN), path)


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", saved(np.zeros(1 << 20, np.uint8)))
    with pytest.raises(ValueError, match="unpacks to 1048704 bytes, at most 1048576 are read"):
        read_npz(tmp_path / "a.npz", ("x",), 1 << 20)
    assert read_npz(tmp_path / "a.npz", ("y",), 1 << 20) == ({}, ("x",))
    assert read_npz(tmp_path / "a.npz", ("x",), 1 << 21)[0]["x"].shape == (1 << 20,)


@pytest.mark.parametrize("tensor", [{"shape": [1]}, {"shape": [1, 1, 1, 1]}])
def test_a_graph_whose_shapes_do_not_fit(tensor: dict[str, Any], tmp_path: Path) -> None:
    """What graph.json says of each tensor is whole, but not what the operators make of one another."""
    body = json.loads((GOLDEN / graphs.GRAPH).read_bytes())
    output = body["operators"][0]["outputs"][0]
    next(row for row in body["tensors"] if row["name"] == output).update(tensor)
    (tmp_path / graphs.WEIGHTS).write_bytes((GOLDEN / graphs.WEIGHTS).read_bytes())
    (tmp_path / graphs.GRAPH).write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"graph\.json, \w+ .*: output of shape"):
        read_model(tmp_path)
    with contextlib.suppress(InputError):
        work_of(graphs.load(tmp_path))


@pytest.mark.parametrize(
    "side",
    [{"shape": [1, float("inf"), 2, 2]}, {"shape": [1]}, {"shape": 3}, {"scale": float("nan"), "zero_point": float("inf")}, {"layout": []}],
)
def test_metadata_of_a_model(side: dict[str, Any]) -> None:
    plain = {"shape": [1, 1, 4, 4], "layout": "NCHW", "scale": 0.5, "zero_point": 0}
    metadata = {"input": {**plain, **side}, "outputs": [{**plain, "scale": None}]}
    with contextlib.suppress(InputError):
        Border.from_metadata(metadata, "x")


def test_a_tflite_file_whose_offsets_lead_nowhere() -> None:
    from edgekd.runtimes.tflite_border import border_of

    for content in (b"", b"\x1c\0\0\0TFL3", b"\xff" * 64, b"\x10\0\0\0TFL3" + bytes(40)):
        with pytest.raises(InputError, match="damaged: .*\n  expected: a whole TFLite file"):
            border_of(content)


def test_deep_json_in_an_ir(tmp_path: Path) -> None:
    from edgekd.runtimes.openvino import read_metadata

    (tmp_path / "model.xml").write_text(f"<net><rt_info><edgekd value='{DEEP}'/></rt_info></net>")
    with pytest.raises(InputError, match="not an OpenVINO IR"):
        read_metadata(tmp_path / "model.xml")


@pytest.mark.parametrize(
    "head", [b"\xff\xfe", b'/* edgekd {"c": 1} */\n', b'/* edgekd {"c" 1} */\n', f'/* edgekd {{"c": {DEEP}}} */\n'.encode(), b""]
)
def test_the_header_of_a_c_library(head: bytes, tmp_path: Path) -> None:
    from edgekd.verify.cut_c import cut

    (tmp_path / "model.c").write_text("int x;\n")
    (tmp_path / "model.h").write_bytes(head)
    graph = graphs.load(GOLDEN)
    with pytest.raises(InputError, match="no library of edgekd"):
        cut(tmp_path / "model.c", graph, graph.outputs[0], tmp_path / "out")


def test_a_search_beside_a_run(tmp_path: Path) -> None:
    for name in ("study.journal", "search.json", "x/aabb-1.5.json", "x/aacc-1e999.json"):
        path = tmp_path / "clothes-search-0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"user_attr": {DEEP}, "candidate": 1}}')
    assert beside(tmp_path / "clothes-pixel-8-0", "clothes") == ()


class Says:
    """A device that answers everything alike."""

    where, folder = "ssh:x", "/data/work"

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, argv: Sequence[str], *, limit_s: float, cwd: str = "") -> Ran:
        return Ran(int(argv[0] == "mkdir"), self._text, "")

    def put(self, local: Path, remote: str) -> None: ...
    def get(self, remote: str, local: Path) -> None: ...
    def close(self) -> None: ...


def test_the_lock_of_a_device() -> None:
    with pytest.raises(DeviceError, match="cannot be made"), held(Says(DEEP)):
        pass


@pytest.mark.parametrize(
    "line", ["", '["progress", ["train", 1', '["outcome", [1, 2, 3]]', '["outcome", 5]', "[]", '["other", []]', DEEP, "1", '{"a": 1}']
)
def test_half_a_line_of_a_worker(line: str) -> None:
    assert heard(line) is None


def test_a_whole_line_of_a_worker() -> None:
    assert heard('["outcome", ["why", 2]]') == ("outcome", ("why", 2))
    assert heard('["progress", ["train", 1, 5]]') == ("progress", ("train", 1, 5))


@pytest.mark.parametrize("key", ["flash", "ram", "timer"])
def test_numbers_without_end_in_a_port(key: str, tmp_path: Path, repository: Path) -> None:
    port = next((repository / "edgekd/firmware/harness/ports").glob("*.c"))
    lines = port.read_text().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith(f" * {key}: "))
    lines[at] = f" * {key}: " + ("" if key == "timer" else "0x0 ") + "9" * 5000 + ("\n" if key == "timer" else "K\n")
    (tmp_path / "board.c").write_text("".join(lines))
    with pytest.raises(InputError, match=key):
        read_port(tmp_path / "board.c")


@pytest.mark.slow
@pytest.mark.parametrize("at", range(0, 60, 4))
def test_a_state_of_a_training_that_is_damaged(at: int, tmp_path: Path) -> None:
    """Without the hash at its end, as earlier versions wrote it: torch raises a KeyError or IndexError for some."""
    import torch

    from edgekd.train.state import load_state

    torch.save({"model": torch.zeros(2), "epoch": 3}, tmp_path / "state.pt")
    content = bytearray((tmp_path / "state.pt").read_bytes())
    start = content.index(b"\x80\x02") + at
    content[start : start + 1] = b"\x85"
    (tmp_path / "state.pt").write_bytes(bytes(content))
    load_state(tmp_path / "state.pt")


def test_a_store_whose_documents_are_nested_too_deep(tmp_path: Path) -> None:
    import sqlite3

    from edgekd.store import Query, Result
    from edgekd.store.results import find, save
    from edgekd.store.tables import connect

    engine = connect(str(tmp_path / "store.sqlite"))
    save(engine, [Result("2026-11-22T15:00:00+00:00", "a", "f", "pixel-8", "host", "asked")])
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as raw, raw:
        raw.execute("UPDATE edgekd_results SET document = ?", (DEEP,))
    with pytest.raises(InputError, match="a row of it is damaged"):
        find(engine, Query())
    engine.dispose()


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("plan", lambda record: record["body"].update(noun=["Plan"]), "noun"),
        ("plan", lambda record: record["body"].update(noun={}), "noun"),
        ("baseline", lambda record: record["body"].update(value=[record["body"]["value"]]), "does not hold what its stage writes"),
        ("measure", lambda record: record["body"]["value"][0]["figures"]["latency_ms"].update(high=None), "an interval with one end"),
        ("baseline", lambda record: record.update(body={"noun": None, "value": 3}), "does not hold what its stage writes"),
    ],
)
def test_a_record_of_another_noun(stage: str, change: Any, said: str, tmp_path: Path) -> None:
    run = examined_runs.run(tmp_path)
    path = run / "records" / f"{stage}.json"
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=rf"{stage}\.json: .*{said}"):
        report.table([run])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "DROP TABLE edgekd_store; CREATE TABLE edgekd_store (version TEXT); INSERT INTO edgekd_store VALUES ('one')",
            "its version is 'one'",
        ),
        ("UPDATE edgekd_store SET version = 99", "a store of version 99"),
        ("UPDATE edgekd_results SET model = CAST(x'80' AS TEXT)", "damaged|cannot be used"),
        ("UPDATE edgekd_results SET asked = CAST(x'80' AS TEXT)", "damaged|cannot be used"),
        ("UPDATE edgekd_figures SET value = 'much'", "damaged|cannot be used"),
    ],
)
def test_a_store_that_holds_something_else(statement: str, said: str, tmp_path: Path) -> None:
    import sqlite3

    from edgekd.errors import EdgekdError
    from edgekd.records import Figure
    from edgekd.store import Query, Result
    from edgekd.store.results import find, save
    from edgekd.store.tables import connect

    path, figures = tmp_path / "store.sqlite", {"latency_ms": Figure(2.0, "ms", "measured", "there")}
    engine = connect(str(path))
    save(engine, [Result("2026-11-22T15:00:00+00:00", "a", "f", "pixel-8", "host", "asked", figures=figures)])
    engine.dispose()
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        raw.executescript(statement)
    with pytest.raises(EdgekdError, match=said):
        find(connect(str(path)), Query())


@pytest.mark.parametrize("correct", [10**6, -1])
def test_a_bin_with_more_right_answers_than_samples(correct: int, tmp_path: Path) -> None:
    from edgekd.report import page
    from edgekd.report.gather import views

    run = examined_runs.run(tmp_path)
    path = run / "records" / "examine.json"
    record = json.loads(path.read_bytes())
    record["body"]["value"]["tasks"][0]["teacher_calibration"][0]["correct"] = correct
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"examine\.json: more answers of a bin are right than it has"):
        page.render(views([run]))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: [budget.update(limit=-1.0) for budget in record["body"]["value"]["budgets"]],
        lambda record: record["config"]["budgets"]["latency_ms"].update(actual="much", name=[], source=3),
    ],
)
def test_a_budget_that_cannot_be(change: Any, tmp_path: Path) -> None:
    run = examined_runs.run(tmp_path)
    path = run / "records" / "plan.json"
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record))
    assert report.documents([run]) and report.table([run]).row_count == 1
