"""A device that lies, or babbles: one message that says what and where, and nothing computed from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.bench import write
from edgekd.errors import DeviceError
from edgekd.measure import attached, told
from edgekd.measure.device import Asked, Subject
from edgekd.quant import io
from edgekd.transports.local import LocalTransport, connect
from edgekd.verify.returned import judge
from tests.measure import results

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "inverted_residual"
QUICK = Asked(seconds=0.1, repeats=6, invocations=2, warmup_s=0.02)


def _good() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return results.result(results.model([results.block(1e-3, rng) for _ in range(8)]))


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    found = _good()
    change(found)
    return json.dumps(found).encode()


def test_what_the_runner_writes_is_taken_and_text_loses_what_steers_a_terminal() -> None:
    content = _changed(lambda r: r["facts_before"].update(os="De\x1b[31mbian\u009b2J\ud800", temperatures_c={"a\x1bb": 40}))
    found = told.result(content, ["a"], "ssh x")
    assert found["facts_before"] == {"os": "De�[31mbian�2J�", "temperatures_c": {"a�b": 40}}
    assert found["models"] == _good()["models"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("clock"), "clock is"),
        (lambda r: r["clock"]["after"].update(wall="noon"), "clock.after.wall is 'noon': input should be a valid number"),
        (lambda r: r.update(models={}), "models is {}: input should be a valid list"),
        (lambda r: r["models"][0].pop("blocks"), "models.0.blocks is"),
        (lambda r: r["models"][0]["blocks"][3].update(seconds=[]), "models.0.blocks.3.seconds is []: list should have at least 1 item"),
        (lambda r: r["models"][0]["blocks"][3].update(seconds=[-1e-3]), "seconds.0 is -0.001: input should be greater than or equal to 0"),
        (lambda r: r["models"][0]["blocks"][3].update(seconds=[float("nan")]), "NaN is no number"),
        (lambda r: r["models"][0]["blocks"][3].update(seconds=[1e300]), "seconds.0 is 1e+300: input should be less than"),
        (lambda r: r["models"][0]["blocks"][3].update(seconds=[0.0] * 9), "its clock stood still while a ran"),
        (lambda r: r["models"][0]["blocks"][3].update(count=0), "count is 0"),
        (lambda r: r["models"][0]["blocks"][3].update(joules={"meter": True}), "joules.meter is True: input should be a valid number"),
        (lambda r: r["models"][0].update(peak_rss_bytes=-1), "peak_rss_bytes is -1"),
        (lambda r: r["models"][0].update(outputs=["../../x"]), "outputs.0 is '../../x': string should match pattern"),
        (lambda r: r["models"][0].update(outputs=[".."]), "outputs.0 is '..': string should match"),
        (lambda r: r["models"][0].update(name="b\x1b[2J"), "RESULT.json is of other models: b�[2J"),
        (lambda r: r.update(models=[]), "RESULT.json is of other models: none"),
        (lambda r: r["facts_before"].update(load=["much"]), "facts_before.load.0 is 'much'"),
        (lambda r: r["facts_after"].update(temperatures_c=[80]), "facts_after.temperatures_c is [80]: input should be a valid dictionary"),
        (lambda r: r["facts_after"].update(throttling={"n": 1e99}), "facts_after.throttling.n is 1e+99"),
    ],
)
def test_what_cannot_be_is_said_with_its_place(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(DeviceError) as error:
        told.result(_changed(change), ["a"], "ssh x")
    assert str(error.value).startswith("ssh x: ") and said in str(error.value) and "\x1b" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"{}", b"[]", b"null", b'{"models": 1e999}'])
def test_garbage_is_no_result(content: bytes) -> None:
    with pytest.raises(DeviceError, match=r"ssh x: RESULT.json is not what the runner writes"):
        told.result(content, ["a"], "ssh x")


def test_facts_that_are_none_and_facts_that_cannot_be() -> None:
    assert told.facts("MOTD", "ssh x") is None and told.facts("[1]", "ssh x") is None and told.facts("[" * 99_999, "ssh x") is None
    with pytest.raises(DeviceError, match=r"ssh x: its state: runtimes.tflite is 'yes'") as error:
        told.facts('{"runtimes": {"tflite": "yes"}}', "ssh x")
    assert "edgekd doctor --device" in str(error.value)


class Liar(LocalTransport):
    """Gives back other files than those that were made there."""

    lies: dict[str, Callable[[Path], object]]

    def get(self, remote: str, local: Path) -> None:
        super().get(remote, local)
        if remote in self.lies:
            self.lies[remote](local)


@pytest.fixture
def lying(tmp_path: Path) -> Callable[..., None]:
    """Measures on a device where the file ``name`` is what ``lie`` makes of it."""
    graph = io.load(GOLDEN)
    with np.load(GOLDEN / "inputs.npz") as file:
        x = next(iter(file.values()))[:4]
    device = tmp_path / "device"
    subject = Subject(graph, None, x, None, "4 samples", write, address=str(device), judge=judge, asked=QUICK)

    def measured(name: str, lie: Callable[[Path], object]) -> None:
        def liar(address: str) -> Liar:
            found = Liar(connect(address).folder, "a liar")
            found.lies = {name: lie}
            return found

        try:
            attached.measure(subject, lambda *_: None, "ssh", liar)
        finally:
            assert not list(device.iterdir()), "nothing is left on the device"

    return measured


def _array(value: Any) -> Callable[[Path], object]:
    return lambda path: np.save(path, value)


def _claims(path: Path) -> None:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|i1", "fortran_order": False, "shape": (4, 1 << 50)})


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(4))


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (lambda path: path.write_bytes(b"garbage"), "m0.y0.npy is no array"),
        (_claims, "m0.y0.npy is no array"),
        (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\n   "), "m0.y0.npy is no array"),
        (_array(np.array(["a"] * 4)), "m0.y0.npy is no array of numbers"),
        (_array(np.int8(3)), "outputs of another number of samples: []"),
        (_array(np.zeros((3, 10), np.int8)), "outputs of another number of samples: [3, 10]"),
        (_archive, "m0.y0.npy is no array: "),
    ],
)
def test_outputs_that_are_none(lying: Callable[..., None], lie: Callable[[Path], object], said: str) -> None:
    with pytest.raises(DeviceError) as error:
        lying("m0.y0.npy", lie)
    assert str(error.value).startswith(f"a liar: {said}")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (_array(np.zeros((4, 1, 1, 2), np.int8)), "student: litert_xnnpack answers (4, 2), the reference (4, 6)"),
        (_array(np.zeros((4, 0), np.int8)), "student: litert_xnnpack answers (4, 0), the reference (4, 6)"),
        (_array(np.full((4, 6), np.nan)), "student: an output is not finite"),
    ],
)
def test_outputs_of_another_shape(lying: Callable[..., None], lie: Callable[[Path], object], said: str) -> None:
    with pytest.raises(DeviceError) as error:
        lying("m0.y0.npy", lie)
    assert str(error.value).startswith("a liar: ") and said in str(error.value)


def test_another_file_than_the_one_that_was_put_is_an_error(lying: Callable[..., None]) -> None:
    def other(path: Path) -> None:
        found = json.loads(path.read_bytes())
        found["models"][0]["file_sha256"] = "0" * 64
        path.write_text(json.dumps(found))

    with pytest.raises(DeviceError, match=r"a liar: the file that ran is not model.tflite\n  expected: the one that was put"):
        lying("RESULT.json", other)


def test_files_larger_than_they_can_be_are_not_fetched(tmp_path: Path) -> None:
    device = connect(str(tmp_path / "device"))
    with Path(device.folder, "RESULT.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DeviceError, match=r"RESULT.json has 1,099,511,627,776 bytes\n  expected: 268,435,456 at most"):
        told.fetch(device, "RESULT.json", tmp_path, told.MOST)
    device.close()
    assert not (tmp_path / "RESULT.json").exists()


def test_a_disk_here_that_is_full_is_said(tmp_path: Path) -> None:
    """In a process of its own, whose files may not be larger than that."""
    program = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
from edgekd.__main__ import main
main()
"""
    device = tmp_path / "device"
    command = [sys.executable, "-c", program, "bench", str(GOLDEN), "--device", f"host:{device}", "--store", str(tmp_path / "s.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert done.returncode == 2 and done.stderr.startswith("edgekd: here: ") and "Traceback" not in done.stderr, done.stderr
    assert "no room for 240,000 bytes of samples" in done.stderr and "set TMPDIR" in done.stderr
    assert not list(device.iterdir()) and not list(tmp_path.glob("edgekd-*"))
