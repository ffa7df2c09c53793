"""Firmware boots on every board, computes, counts, paints; what does not fit is not linked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import EdgekdError, InputError
from edgekd.export.c import export
from edgekd.mcu import answers, harness, qemu, toolchain
from edgekd.mcu.boards import CORES, boards, read_port
from edgekd.mcu.harness import Order, TooLarge, build, run
from tests.graph_cases import Builder
from tests.mcu import tiny
from tests.mcu.tools import needs_gcc, needs_qemu

FLASH, RAM = 64 << 10, 16 << 10
X = tiny.inputs()


def order(library: tuple[Path, str], core: str = "cortex-m4", **more: object) -> Order:
    return Order((library,), core, FLASH, RAM, **{"stack_bytes": 2048, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return tiny.write(tmp_path_factory.mktemp("library"))


@needs_qemu
@pytest.mark.parametrize("core", CORES)
def test_every_core_boots_computes_counts_and_paints(core: str, library: tuple[Path, str], tmp_path: Path) -> None:
    firmware = build(order(library, core), tmp_path)
    first, second = (run(firmware, X.view(np.uint8), tmp_path) for _ in range(2))
    assert (first.outputs.view(np.int8) == tiny.expected(X)).all()
    assert first.instructions.tolist() == second.instructions.tolist() and first.granularity == 1
    assert 300 < first.instructions.min() <= first.instructions.max() < 800
    assert first.stack_bytes == second.stack_bytes and 8 <= first.stack_bytes <= 128
    assert firmware.flash()["weights"] == tiny.WEIGHTS.size and firmware.ram()["arena"] == 64
    assert not toolchain.heap_symbols(firmware.elf)


# Those of M0+, M3 and M7 have the UART of the M4's.
@needs_qemu
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m4", "cortex-m4f", "cortex-m33", "cortex-m55"])
def test_every_board_answers_over_its_uart(core: str, library: tuple[Path, str], tmp_path: Path) -> None:
    firmware = build(order(library, core, transport="uart"), tmp_path)
    content = qemu.run_uart(firmware.elf, firmware.board, answers.request(X.view(np.uint8)))
    said = answers.answer(content, tiny.IN)
    assert said.whole and (said.outputs.view(np.int8) == tiny.expected(X)).all()


@needs_qemu
def test_layers_are_counted_one_by_one(library: tuple[Path, str], tmp_path: Path) -> None:
    plain = run(build(order(library), tmp_path), X.view(np.uint8), tmp_path)
    firmware = build(order(library, layers=True), tmp_path / "layers")
    counted = run(firmware, X.view(np.uint8), tmp_path)
    assert firmware.names == (("sums", "saturate"),)
    assert counted.layers[0] > counted.layers[1] > 0
    assert counted.layers.sum() == pytest.approx(plain.instructions[0], abs=40)
    assert not plain.layers.size


@needs_qemu
def test_coarse_counts_are_those_of_fine_ones(library: tuple[Path, str], tmp_path: Path) -> None:
    firmware = build(order(library), tmp_path)
    fine, coarse = (run(firmware, X.view(np.uint8), tmp_path, shift=shift) for shift in (qemu.FINE, qemu.COARSE))
    assert (fine.granularity, coarse.granularity) == (1, 5)
    assert np.abs(fine.instructions - coarse.instructions).max() <= 10


@needs_qemu
def test_stack_is_what_the_model_takes(tmp_path: Path) -> None:
    used = []
    for deep in (8, 1032):
        folder = tmp_path / str(deep)
        firmware = build(order(tiny.write(folder, deep=deep)), folder)
        used.append(run(firmware, X.view(np.uint8), folder).stack_bytes)
    # Of a field that is reserved only the lowest byte is written: that one counts.
    assert used[1] - used[0] == pytest.approx(1024, abs=16)


@needs_qemu
@pytest.mark.parametrize(
    ("core", "deep"), [("cortex-m0", 4096), ("cortex-m4", 2048), ("cortex-m4", 32768), ("cortex-m33", 4096), ("cortex-m55", 4096)]
)
def test_a_stack_that_runs_out_of_its_room_is_a_fault_and_says_so(core: str, deep: int, tmp_path: Path) -> None:
    firmware = build(order(tiny.write(tmp_path, deep=deep), core), tmp_path)
    with pytest.raises(
        EdgekdError, match=f"the firmware stopped on {firmware.board.name} with .*most likely the stack ran out of its room"
    ):
        run(firmware, X.view(np.uint8), tmp_path)


@needs_qemu
def test_a_port_of_ones_own(tmp_path: Path) -> None:
    head = boards()["netduinoplus2"].port.read_text().replace("cores: cortex-m4f", "cores: cortex-m4")
    (tmp_path / "mine.c").write_text(head)
    port = read_port(tmp_path / "mine.c")
    firmware = build(order(tiny.write(tmp_path), port=port), tmp_path)
    assert firmware.board == port
    assert (run(firmware, X.view(np.uint8), tmp_path).outputs.view(np.int8) == tiny.expected(X)).all()


@needs_qemu
def test_several_models_in_one_firmware_share_the_arena(tmp_path: Path) -> None:
    first, second = tiny.write(tmp_path, "first"), tiny.write(tmp_path, "second", extra=1000, arena=256)
    firmware = build(Order((first, second), "cortex-m3", FLASH, RAM, stack_bytes=2048), tmp_path)
    assert firmware.ram()["arena"] == 256
    for model, extra in ((0, 0), (1, 1000)):
        found = run(firmware, X.view(np.uint8), tmp_path, model=model)
        assert (found.outputs.view(np.int8) == tiny.expected(X, extra)).all()
    with pytest.raises(EdgekdError, match="71: it was asked for a model that it has not"):
        run(firmware, X.view(np.uint8), tmp_path, model=2)


@needs_qemu
def test_a_time_limit_gives_what_was_done_until_then(library: tuple[Path, str], tmp_path: Path) -> None:
    many = np.tile(X, (60_000, 1))
    found = run(build(order(library), tmp_path), many.view(np.uint8), tmp_path, shift=None, limit_s=1.5)
    assert 0 < len(found.outputs) < len(many) and found.granularity is None
    assert (found.outputs.view(np.int8) == tiny.expected(many[: len(found.outputs)])).all()


@needs_gcc
def test_flash_that_is_too_small_fails_to_link_by_how_many_bytes(tmp_path: Path) -> None:
    library = tiny.write(tmp_path, padding=FLASH)
    with pytest.raises(TooLarge, match=r"FLASH overflows by \d+ bytes") as error:
        build(order(library), tmp_path)
    needed = sum(error.value.firmware.flash().values())
    assert error.value.missing["FLASH"] == pytest.approx(needed - FLASH, abs=16)
    assert "RAM" not in error.value.missing


@needs_gcc
def test_ram_that_is_too_small_counts_the_room_of_the_stack(tmp_path: Path) -> None:
    library = tiny.write(tmp_path, arena=RAM - 1024)
    with pytest.raises(TooLarge, match=r"RAM overflows by \d+ bytes") as error:
        build(order(library), tmp_path)
    assert error.value.missing["RAM"] == pytest.approx(sum(error.value.firmware.ram().values()) - RAM, abs=16)


@needs_qemu
def test_more_memory_than_the_small_board_has_takes_the_larger_one(tmp_path: Path) -> None:
    library = tiny.write(tmp_path, arena=40 << 10)
    firmware = build(Order((library,), "cortex-m0", FLASH, 64 << 10), tmp_path)
    assert firmware.board.name == "mps2-an385"
    assert (run(firmware, X.view(np.uint8), tmp_path).outputs.view(np.int8) == tiny.expected(X)).all()


@needs_gcc
def test_more_memory_than_any_board_has(tmp_path: Path) -> None:
    library = tiny.write(tmp_path, arena=8 << 20)
    with pytest.raises(EdgekdError, match="the largest emulated board, mps2-an386, has 4194304 and 4194304"):
        build(Order((library,), "cortex-m4", FLASH, 16 << 20), tmp_path)


@needs_gcc
def test_what_does_not_compile_shows_the_compilers_words(tmp_path: Path) -> None:
    folder, name = tiny.write(tmp_path)
    (folder / f"{name}.c").write_text((folder / f"{name}.c").read_text().replace("volatile int8_t deep", "volatile nothing deep"))
    with pytest.raises(EdgekdError, match="compiling tiny.c failed\n  it said: .*unknown type name"):
        build(order((folder, name)), tmp_path)


@needs_gcc
def test_a_heap_is_refused(tmp_path: Path) -> None:
    folder, name = tiny.write(tmp_path)
    source = (folder / f"{name}.c").read_text()
    heap = "void *malloc(unsigned size);\nvoid *malloc(unsigned size) { return size ? 0 : &size; }\n"
    called = source.replace("    EK_LAYER(0);", "    if (malloc(4)) return;\n    EK_LAYER(0);", 1)
    (folder / f"{name}.c").write_text(called.replace("static void sums", f"{heap}static void sums", 1))
    with pytest.raises(EdgekdError, match="uses a heap: malloc"):
        build(order((folder, name), flags=("-O0", "-fno-builtin")), tmp_path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"core": "cortex-a53"}, "core 'cortex-a53'"),
        ({"transport": "pigeon"}, "transport 'pigeon'"),
        ({"stack_bytes": 100}, "a stack of 100 bytes"),
        ({"libraries": ()}, "no model"),
    ],
)
def test_wrong_orders_are_refused(more: dict[str, object], message: str) -> None:
    given = {"libraries": ((Path("x"), "x"),), "core": "cortex-m4", "flash_bytes": FLASH, "ram_bytes": RAM, **more}
    with pytest.raises(InputError, match=message):
        Order(**given)  # type: ignore[arg-type]


def test_ticks_become_instructions() -> None:
    said = answers.Answer(np.zeros((2, 1), np.uint8), np.array([3232, 3264]), np.array([320]), 32, 32, 16, True)
    found = harness.of_answer(said, 25_000_000, qemu.FINE, "")  # 3.2 ticks an instruction
    assert (found.instructions.tolist(), found.layers.tolist(), found.granularity) == ([1000, 1010], [90], 1)
    assert harness.of_answer(said, 25_000_000, qemu.COARSE, "").granularity == 5
    assert not harness.of_answer(said, None, qemu.FINE, "").instructions.size


@needs_qemu
@pytest.mark.parametrize("name", ["input", "output", "main", "arenas"])
def test_models_of_any_name(name: str, tmp_path: Path) -> None:
    firmware = build(order(tiny.write(tmp_path, name)), tmp_path)
    assert (run(firmware, X.view(np.uint8), tmp_path).outputs.view(np.int8) == tiny.expected(X)).all()


def test_names_of_layers_are_not_taken_for_code(tmp_path: Path) -> None:
    hostile = 'é};\n*/ EK_LAYER(3000000000);"'
    graph = Builder(0).input((4, 4, 2)).conv(3).graph()
    tensors = {(hostile if key == graph.outputs[0] else key): value for key, value in graph.tensors.items()}
    tensors[hostile] = replace(tensors[hostile], name=hostile)
    graph = replace(graph, tensors=tensors, ops=(replace(graph.ops[0], name=hostile, outputs=(hostile,)),), outputs=(hostile,))
    export(graph, tmp_path)
    assert harness.layer_names(tmp_path / "case.c") == (f"Conv2D {hostile}",)
