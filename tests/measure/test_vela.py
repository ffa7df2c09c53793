"""What Vela says of a model reaches the measurement, layer by layer; profiles name NPU, system and memory mode."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.errors import EdgekdError, InputError
from edgekd.export.tflite import export
from edgekd.measure.device import Subject
from edgekd.measure.vela import measure, npu_of, predict
from edgekd.profile.load import check, load
from edgekd.profile.schema import Profile
from edgekd.quant.arena import MEMORY_PLAN
from edgekd.quant.graph import QuantGraph
from edgekd.records import Artifact
from tests.graph_cases import Builder

pytest.importorskip("ethosu", reason="no Vela: pip install 'edgekd[ethos-u]'")
KWS = Path(__file__).resolve().parents[3] / "shared" / "data" / "mlperf_tiny" / "kws_ref_model.tflite"


def written(graph: QuantGraph, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / export(graph.with_metadata(**{MEMORY_PLAN: "none"}), folder).path


def small() -> QuantGraph:
    return Builder(1).input((16, 16, 3)).conv(16, (3, 3), stride=(2, 2), activation="relu").depthwise((3, 3)).fully_connected(10).graph()


def without(name: str, **npu: object) -> Profile:
    """corstone-300 with another [npu]."""
    table = load(name).model_dump()
    return Profile.model_validate(table | {"npu": npu or None})


def test_a_model_that_the_npu_takes_whole(tmp_path: Path) -> None:
    found = predict(written(small(), tmp_path), load("corstone-300"), "small.tflite")
    figures = found.measurement.figures
    assert found.measurement.device == "vela" and found.measurement.artifact == "small.tflite"
    assert figures["latency_ms"].kind == figures["cycles"].kind == "predicted"
    assert figures["peak_ram_bytes"].kind == figures["flash_bytes"].kind == "counted"
    assert "Vela 5" in figures["latency_ms"].where and "ethos-u55-128" in figures["latency_ms"].where
    assert figures["latency_ms"].value == pytest.approx(figures["cycles"].value / 32e3)  # [npu] clock_mhz
    assert not found.left and {layer.target for layer in found.layers} == {"NPU"}
    assert [layer.kind for layer in found.layers] == ["Conv2D", "DepthwiseConv2D", "FullyConnected"]
    assert sum(layer.cycles for layer in found.layers) == figures["cycles"].value
    assert "system Ethos_U55_High_End_Embedded, memory mode Shared_Sram, NPU at 32 MHz" in found.measurement.notes


@pytest.mark.skipif(not KWS.is_file(), reason="no MLPerf Tiny files beside the checkout")
def test_the_keyword_model_of_mlperf() -> None:
    found = predict(KWS, load("corstone-300"))
    assert found.measurement.figures["cycles"].value == pytest.approx(89_900, rel=0.05)
    assert [layer.kind for layer in found.layers].count("Conv2D") == 5 and found.layers[-1].kind == "Softmax"
    assert sum(layer.macs for layer in found.layers) == pytest.approx(2_664_792, rel=0.01)


def test_another_npu_has_other_cycles(tmp_path: Path) -> None:
    model = written(small(), tmp_path)
    large = without("corstone-300", accelerator="ethos-u85-256", system_config="Ethos_U85_SYS_Flash_Low", memory_mode="Sram_Only")
    found, plain = predict(model, large), predict(model, load("corstone-300"))
    assert found.measurement.figures["cycles"].value < plain.measurement.figures["cycles"].value
    assert "NPU at 200 MHz" in found.measurement.notes[0]


def test_what_falls_back_is_named_and_its_time_is_not_claimed(tmp_path: Path) -> None:
    mixed = Builder(1).input((20, 20, 3)).conv(8, (3, 3)).depthwise((3, 3), stride=(5, 5)).graph()
    found = predict(written(mixed, tmp_path), load("corstone-300"))
    assert [lack.kind for lack in found.left] == ["DEPTHWISE_CONV_2D"] and "Unsupported kernel stride" in found.left[0].reason
    assert "1 operator runs on the processor, whose time is not in latency_ms" in found.measurement.notes


def test_nothing_for_the_npu(tmp_path: Path) -> None:
    alone = Builder(1).input((20, 20, 3)).depthwise((3, 3), stride=(5, 5)).graph()
    with pytest.raises(EdgekdError, match="the NPU takes none of its operators; DEPTHWISE_CONV_2D: Unsupported kernel stride"):
        predict(written(alone, tmp_path), load("corstone-300"))


def test_the_device(tmp_path: Path) -> None:
    graph, seen = small(), list[tuple[str, int, int]]()
    x = Builder(1).input((16, 16, 3)).images(2)

    def write(fmt: str, graph: QuantGraph, out: Path, **options: str) -> Artifact:
        assert fmt == "tflite" and options == {"names": "all"}
        return export(graph, out, names="all")

    subject = Subject(graph, load("corstone-300"), x, None, "2 random inputs", write, keep=tmp_path / "kept")
    bench = measure(subject, lambda *told: seen.append(told))
    assert bench.ok and bench.device == "vela" and seen == [("vela", 0, 1), ("vela", 1, 1)]
    (row,) = bench.rows
    assert (
        row.name == "ethos-u55-128"
        and row.unit == "cycles"
        and [layer.name for layer in row.layers]
        == [
            "Conv2D conv2d0",
            "DepthwiseConv2D depthwiseconv2d1",
            "FullyConnected fullyconnected2",
        ]
    )
    assert list((tmp_path / "kept").glob("*.tflite"))
    with pytest.raises(InputError, match="--kernels: kernels cmsis"):
        measure(replace(subject, kernels=("cmsis",)), lambda *_: None)


def test_a_target_without_an_npu(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--device vela: target nrf52840dk has no accelerator"):
        predict(tmp_path / "x.tflite", load("nrf52840dk"))
    assert npu_of(without("corstone-300")).accelerator == "ethos-u55-128"  # the accelerator's name is enough


def test_what_vela_refuses(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"no model")
    with pytest.raises(InputError, match="not compiled: Vela, which failed"):
        predict(tmp_path / "x.tflite", load("corstone-300"))
    with pytest.raises(InputError, match=r"(?s)not compiled: Vela, which failed.*Mine"):
        wrong = without("corstone-300", accelerator="ethos-u55-128", system_config="Mine", memory_mode="Sram_Only")
        predict(written(small(), tmp_path), wrong)


def problems(folder: Path, repository: Path, old: str, new: str) -> list[str]:
    text = (repository / "targets" / "mcu" / "corstone-300.toml").read_text()
    assert old in text
    path = folder / "corstone-300.toml"
    path.write_text(text.replace(old, new))
    tomllib.loads(path.read_text())
    return [f"{p.key}: {p.found} → {p.mend}" for p in check(path)[1]]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"ethos-u55-128"', '"ethos-u55-512"', "npu.accelerator: found 'ethos-u55-512' (text)"),
        ('"ethos-u55-128"', '"ethos-u65-256"', "npu.accelerator: ethos-u65-256 on a device with Ethos-U55-128"),
        (
            "U55_High_End_Embedded",
            "U55_High_End",
            "npu.system_config: 'Ethos_U55_High_End' for ethos-u55-128 → system_config = \"Ethos_U55_High",
        ),
        ("U55_High_End_Embedded", "U65_Embedded", "npu.system_config: 'Ethos_U65_Embedded' for ethos-u55-128"),
        ('"Shared_Sram"', '"Shared"', "npu.memory_mode: 'Shared' for ethos-u55-128 → memory_mode = \"Shared_Sram\""),
        (
            '"Shared_Sram"',
            '"Dedicated_Sram"',
            "npu.memory_mode: Dedicated_Sram with Ethos_U55_High_End_Embedded, whose second memory is flash",
        ),
        ("system_config", "sistem_config", "npu.sistem_config: unknown key → perhaps system_config"),
        ('memory_mode = "Shared_Sram"', 'config = "my.ini"', "npu.memory_mode: is missing beside config"),
        ('memory_mode = "Shared_Sram"', "", "npu.memory_mode: is missing beside system_config"),
        ('runtime = "ethos-u"', 'runtime = "tflm"', "npu: a table for runtime tflm"),
    ],
)
def test_targets_check_finds_what_contradicts(old: str, new: str, said: str, tmp_path: Path, repository: Path) -> None:
    found = problems(tmp_path, repository, old, new)
    assert any(line.startswith(said) for line in found) if said else not found, found


def test_profiles_without_an_npu_are_dumped_as_ever() -> None:
    assert "npu" not in load("nrf52840dk").model_dump()
    assert load("corstone-300").model_dump()["npu"]["memory_mode"] == "Shared_Sram"
