"""The bundle for firmware, by real tools: CMake builds and tests it on the host and for Cortex-M in QEMU, C++ reads its headers, headers
of another release and changed weights are found out."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgekd.errors import InputError
from edgekd.release.facts import Facts
from edgekd.release.mcu import ACCESSOR_BYTES, pack, text_of
from tests.released import facts

STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Werror"
HOSTILE = ("a\"b\\", "??/\n??'", "*/ #error", "drèss 🐈‍⬛", "%s%n", "nul\0l", "\ud800", "$(exit 1) ${X} `x`", "\u202eright")  # fmt: skip
#: What the tests boot on: machine of QEMU, flags.
CORES = {
    "cortex-m4": ("mps2-an386", "-mcpu=cortex-m4 -mthumb"),
    "cortex-m55": ("mps3-an547", "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard"),
}
LINKER = """ENTRY(reset)
MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 512K  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 512K }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text* .rodata*) } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .data : ALIGN(8) { data_start = .; *(.data*) . = ALIGN(8); data_end = .; } > RAM AT > FLASH
  data_load = LOADADDR(.data);
  .bss (NOLOAD) : ALIGN(16) { bss_start = .; *(.bss* COMMON) . = ALIGN(8); bss_end = .; end = .; } > RAM
}
"""
STARTUP = """#include <stdint.h>
#include <stdlib.h>
extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];
void initialise_monitor_handles(void);
int main(void);
void _init(void) {}
void _fini(void) {}
void reset(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    for (uint32_t *from = data_load, *to = data_start; to < data_end;) *to++ = *from++;
    for (uint32_t *at = bss_start; at < bss_end;) *at++ = 0;
    initialise_monitor_handles();
    exit(main());
}
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[2] = {0x20080000u, (uintptr_t)reset};
"""
ARDUINO = """
#include <cstdint>
struct Port { void begin(long); void println(const char *); };
extern Port Serial;
void delay(unsigned long);
"""
Build = Callable[..., Path]


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")


def ran(*command: str | Path, folder: Path | None = None, good: bool = True) -> str:
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return done.stdout + done.stderr


def packed(made: Facts, out: Path) -> Path:
    out.mkdir(parents=True)
    files = pack(made, out)
    assert list(files) == sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    return out / made.artifact


def compiled(folder: Path, out: Path, *sources: str | Path, flags: str = "-O1", good: bool = True) -> str:
    needs("gcc")
    own = [folder / "src/golden_pixel_8_model.c", folder / "src/golden_pixel_8_frontend.c"]
    return ran("gcc", "-std=c11", *STRICT.split(), *flags.split(), *sources, *own, "-I", folder / "src", "-o", out, good=good)


def with_labels(made: Facts, labels: tuple[str, ...]) -> Facts:
    model = made.models["c"]
    head = model.heads[0]
    named = replace(head, labels=(*labels, *head.labels[len(labels) :])[: len(head.labels)])
    return replace(made, models={"c": replace(model, heads=(named, *model.heads[1:]))})


@pytest.mark.parametrize("kind", ("two_tasks", pytest.param("int8", marks=pytest.mark.slow), pytest.param("sound", marks=pytest.mark.slow)))
def test_cmake_builds_it_and_its_test_passes(tmp_path: Path, kind: str):
    needs("cmake", "gcc")
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    build = tmp_path / "build"
    ran("cmake", "-S", folder, "-B", build, f"-DCMAKE_C_FLAGS={STRICT}", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}")
    assert "warning" not in ran("cmake", "--build", build)
    assert "100% tests passed" in ran("ctest", "--test-dir", build)
    said = ran(build / "golden_pixel_8_test")
    assert said == "The model is golden-pixel-8 1.4.0, whole.\n8 test vectors pass.\n"


@pytest.mark.slow
def test_cmake_installs_what_find_package_finds(tmp_path: Path):
    needs("cmake", "gcc")
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    ran("cmake", "-S", folder, "-B", tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'installed'}", "-DGOLDEN_PIXEL_8_TESTS=OFF")
    ran("cmake", "--build", tmp_path / "build", "--target", "install")
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.c").write_text('#include "golden_pixel_8_model.h"\nint main(void) { return golden_pixel_8_check(); }\n')
    (app / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nfind_package(golden_pixel_8 1.4.0 REQUIRED)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app edgekd::golden_pixel_8)\n"
    )
    ran("cmake", "-S", app, "-B", app / "build", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    ran("cmake", "--build", app / "build")
    ran(app / "build/app")
    text = (app / "CMakeLists.txt").read_text().replace("1.4.0", "1.5.0")
    (app / "CMakeLists.txt").write_text(text)
    assert "compatible" in ran("cmake", "-S", app, "-B", app / "other", f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}", good=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("int8", "two_tasks", "sound"))
@pytest.mark.parametrize("core", CORES)
def test_cmake_builds_it_for_cortex_m_and_ctest_runs_it_in_qemu(tmp_path: Path, kind: str, core: str):
    needs("cmake", "arm-none-eabi-gcc", "qemu-system-arm")
    machine, flags = CORES[core]
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    (tmp_path / "link.ld").write_text(LINKER)
    (tmp_path / "start.c").write_text(STARTUP)
    ran("arm-none-eabi-gcc", *flags.split(), "-O2", "-c", tmp_path / "start.c", "-o", tmp_path / "start.o")
    emulator = f"qemu-system-arm;-M;{machine};-nographic;-monitor;none;-serial;none;-semihosting;-kernel"
    (tmp_path / "toolchain.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Generic)\nset(CMAKE_SYSTEM_PROCESSOR arm)\nset(CMAKE_C_COMPILER arm-none-eabi-gcc)\n"
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        f'set(CMAKE_C_FLAGS_INIT "{flags} {STRICT}")\nset(CMAKE_CROSSCOMPILING_EMULATOR "{emulator}")\n'
        f'set(CMAKE_EXE_LINKER_FLAGS_INIT "-nostartfiles --specs=rdimon.specs -T {tmp_path}/link.ld {tmp_path}/start.o")\n'
    )
    ran("cmake", "-S", folder, "-B", tmp_path / "build", f"-DCMAKE_TOOLCHAIN_FILE={tmp_path / 'toolchain.cmake'}")
    ran("cmake", "--build", tmp_path / "build")
    said = ran("ctest", "--test-dir", tmp_path / "build", "-V", "--timeout", "60")
    assert "The model is golden-pixel-8 1.4.0, whole." in said
    assert "8 test vectors pass." in said


def test_what_check_and_accessor_cost_in_flash(tmp_path: Path):
    needs("arm-none-eabi-gcc")
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    flags = ("-std=c11", "-Os", "-mcpu=cortex-m4", "-mthumb", "-ffunction-sections", "-fdata-sections", "-I", str(folder / "src"))
    sizes = {}
    for name in ("golden_pixel_8.inc", "golden_pixel_8_model.c"):
        ran("arm-none-eabi-gcc", *flags, "-x", "c", "-c", folder / "src" / name, "-o", tmp_path / f"{name}.o")
        row = ran("arm-none-eabi-size", tmp_path / f"{name}.o").splitlines()[1].split()
        sizes[name] = int(row[0]) + int(row[1])
    labels = sum(len(text_of(label)) + 5 for label in facts(tmp_path, "int8", formats=("mcu",)).models["c"].heads[0].labels)
    cost = sizes["golden_pixel_8_model.c"] - sizes["golden_pixel_8.inc"] - labels
    assert 0.7 * ACCESSOR_BYTES < cost <= ACCESSOR_BYTES, cost


@pytest.mark.parametrize("standard", ("c++17", "c++11", "c99"))
@pytest.mark.parametrize("kind", ("two_tasks", "sound"))
def test_headers_are_good_c99_and_cpp(tmp_path: Path, kind: str, standard: str):
    needs("gcc", "g++")
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    language, compiler = ("c", "gcc") if standard == "c99" else ("c++", "g++")
    source = tmp_path / f"user.{'c' if language == 'c' else 'cpp'}"
    source.write_text(
        '#include "golden_pixel_8_model.h"\nint use(void *arena) { return golden_pixel_8_check() + golden_pixel_8_class(arena, 0); }\n'
    )
    ran(compiler, f"-std={standard}", *STRICT.split(), "-x", language, "-fsyntax-only", "-I", folder / "src", source)


@pytest.mark.parametrize("kind", ("int8", "two_tasks", "sound"))
def test_the_sketch_is_good_cpp(tmp_path: Path, kind: str):
    needs("g++")
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = folder / "examples/GoldenPixel8/GoldenPixel8.ino"
    ran("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-include", tmp_path / "Arduino.h", "-I", folder / "src",
        "-x", "c++", sketch)  # fmt: skip


def test_another_releases_headers_are_found_out(tmp_path: Path):
    """An application that saw the headers of 1.5.0, linked with the library of 1.4.0."""
    made = facts(tmp_path, "int8", formats=("mcu",))
    old, new = packed(made, tmp_path / "old"), packed(replace(made, version="1.5.0"), tmp_path / "new")
    app = tmp_path / "app.c"
    app.write_text(
        '#include <stdio.h>\n#include "golden_pixel_8_model.h"\n'
        "int main(void) { const int code = golden_pixel_8_check(); puts(golden_pixel_8_error_text(code)); return code; }\n"
    )
    ran("gcc", "-c", app, "-I", new / "src", "-o", tmp_path / "app.o")
    compiled(old, tmp_path / "program", tmp_path / "app.o")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "compiled with the headers of another release than golden-pixel-8 1.4.0: take headers and library from one." in done.stdout
    shutil.copy(new / "src/golden_pixel_8_model.h", old / "src")
    assert "is of another release than golden_pixel_8_model.c" in compiled(old, tmp_path / "mixed", app, good=False)


def test_an_arena_of_another_size_is_found_out(tmp_path: Path):
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    app = tmp_path / "app.c"
    app.write_text(
        '#include "golden_pixel_8_model.h"\n'
        "int main(void) { return golden_pixel_8_check_release(GOLDEN_PIXEL_8_MODEL_ID, GOLDEN_PIXEL_8_ARENA_BYTES - 16) != 1; }\n"
    )
    compiled(folder, tmp_path / "program", app)
    ran(tmp_path / "program")


@pytest.mark.parametrize("level", ("-O0", pytest.param("-O3", marks=pytest.mark.slow)))
def test_a_flipped_bit_is_found_out(tmp_path: Path, level: str):
    """In the weights of the program itself, as flash that lost a bit."""
    made = facts(tmp_path, "int8", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    compiled(folder, tmp_path / "program", folder / "test/golden_pixel_8_test.c", flags=level)
    good = (tmp_path / "program").read_bytes()
    array = re.search(r"int8_t golden_pixel_8_c2\[216\] EK_WEIGHTS = \{\n(.*?)\n\};", (folder / "src/golden_pixel_8.inc").read_text(), re.S)
    assert array
    weights = np.array([int(n) for n in array[1].split(",") if n.strip()], np.int8).tobytes()
    for at, what in ((good.index(weights) + 100, "weight"), (good.index(b"trouser\0") + 2, "label")):
        changed = bytearray(good)
        changed[at] ^= 1
        (tmp_path / what).write_bytes(changed)
        (tmp_path / what).chmod(0o755)
        done = subprocess.run([tmp_path / what], capture_output=True, text=True, check=False)
        assert done.returncode == 1, what
        assert done.stdout == "Weights or labels in memory are not those of golden-pixel-8 1.4.0: write the firmware again.\n"


def test_wrong_vectors_fail(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("mcu",))
    vectors = made.vectors_for("mcu")
    other = replace(vectors, outputs=tuple(out ^ 1 for out in vectors.outputs))
    folder = packed(replace(made, vectors_by_format={"mcu": other}), tmp_path / "mcu")
    compiled(folder, tmp_path / "program", folder / "test/golden_pixel_8_test.c")
    assert "Test vector 0: the model answers something else" in ran(tmp_path / "program", good=False)


def test_quantize_and_values_as_numpy_has_them(tmp_path: Path):
    made = facts(tmp_path, "two_tasks", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    model = made.models["c"]
    app = tmp_path / "app.c"
    app.write_text("""#include <stdio.h>
#include <string.h>
#include "golden_pixel_8_model.h"
static _Alignas(16) int8_t arena[GOLDEN_PIXEL_8_ARENA_BYTES];
int main(void) {
    float value;
    while (fread(&value, sizeof value, 1, stdin)) printf("%d ", golden_pixel_8_quantize(value));
    puts("");
    memset(golden_pixel_8_input(arena), 3, GOLDEN_PIXEL_8_INPUT_SIZE);
    golden_pixel_8_run(arena);
    for (int i = 0; i < 6; i++) printf("%.9g ", (double)golden_pixel_8_value(arena, 0, i));
    puts("");
    for (int i = 0; i < 6; i++) ((int8_t *)golden_pixel_8_output(arena))[i] = (int8_t)(i == 0 ? -5 : 7);
    printf("%d %d %d %d [%s] [%s]", golden_pixel_8_class(arena, 0), golden_pixel_8_class(arena, -1), golden_pixel_8_class(arena, 2),
           golden_pixel_8_value(arena, 1, 2) == 0.0f, golden_pixel_8_label(1, 1), golden_pixel_8_label(1, 2));
    return 0;
}
""")
    compiled(folder, tmp_path / "program", app)
    rng = np.random.default_rng(0)
    reals = np.concatenate([rng.normal(0, 1, 200), (np.arange(-300, 300) + 0.5) / 128, [np.inf, -np.inf, np.nan, 1e30, -0.0]]).astype(
        np.float32
    )
    done = subprocess.run([tmp_path / "program"], input=reals.tobytes(), capture_output=True, check=True).stdout.decode()
    integers, values, rest = done.split("\n")
    finite = np.where(np.isnan(reals), 0, reals)
    assert model.input.zero_point == 0 and model.input.scale is not None
    assert [int(n) for n in integers.split()] == np.rint(finite / np.float32(model.input.scale)).clip(-128, 127).astype(int).tolist()
    from edgekd.quant import reference

    out = reference.run(made.graph, np.full((1, 20, 20, 3), 3, np.int8), "tflm")["shape"][0]
    border = model.heads[0].output
    assert border.scale is not None and border.zero_point is not None
    expected = np.float32(border.scale) * (out.ravel().astype(np.float32) - np.float32(border.zero_point))
    assert np.array_equal(np.array(values.split(), np.float32), expected)
    assert rest == "1 -1 -1 1 [bright] []"


def test_hostile_labels_are_text(tmp_path: Path):
    made = with_labels(facts(tmp_path, "int8", formats=("mcu",)), HOSTILE[:6])
    for at, labels in enumerate((HOSTILE[:6], HOSTILE[3:])):
        folder = packed(with_labels(made, labels), tmp_path / str(at))
        app = tmp_path / f"{at}.c"
        app.write_text(
            '#include <stdio.h>\n#include "golden_pixel_8_model.h"\n'
            "int main(void) {\n    for (int i = 0; i < 6; i++) { fputs(golden_pixel_8_label(0, i), stdout); putchar(1); }\n"
            "    return golden_pixel_8_check();\n}\n"
        )
        compiled(folder, tmp_path / f"program{at}", app, flags="-trigraphs -Wno-trigraphs")
        done = subprocess.run([tmp_path / f"program{at}"], capture_output=True, check=True)
        shown = [label.replace("\0", "\ufffd").replace("\ud800", "\ufffd") for label in labels]
        assert done.stdout.decode().split("\1")[:-1] == shown


def test_texts_of_the_run_stay_on_their_lines(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("mcu",))
    evil = {"title": 'x\nversion=9.9.9"', "authors": "a\r\nname=b", "license": "MIT\n"}
    folder = packed(replace(made, licenses=evil), tmp_path / "mcu")
    stated = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    assert stated["version"] == "1.4.0" and stated["author"] == "a name=b"
    assert json.loads((folder / "library.json").read_text())["license"] == "MIT"


def test_what_arduino_demands(tmp_path: Path):
    """Library specification: fields, names, layout."""
    folder = packed(facts(tmp_path, "sound", formats=("mcu",), version="2.0.0-rc.1"), tmp_path / "mcu")
    stated = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())
    assert set(stated) >= {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,62}", stated["name"]) and stated["version"] == "2.0.0-rc.1"
    assert stated["category"] in {"Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing",
                                  "Data Storage", "Data Processing", "Other"}  # fmt: skip
    assert (folder / "src" / stated["includes"]).is_file()
    for sketch in folder.glob("examples/*/*.ino"):
        assert sketch.stem == sketch.parent.name
    # Each .c below src is compiled by itself, so no other file may be one half of it.
    assert sorted(path.name for path in folder.rglob("src/**/*.c")) == ["golden_pixel_8_frontend.c", "golden_pixel_8_model.c"]


def test_what_platformio_demands(tmp_path: Path):
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    stated = json.loads((folder / "library.json").read_text())
    assert re.fullmatch(r"[a-z0-9-]{1,50}", stated["name"]) and stated["version"] == "1.4.0"
    assert (folder / stated["build"]["srcDir"] / stated["headers"]).is_file()
    for example in stated["examples"]:
        assert all((folder / example["base"] / name).is_file() for name in example["files"])


def test_what_zephyr_demands(tmp_path: Path):
    folder = packed(facts(tmp_path, "sound", formats=("mcu",)), tmp_path / "mcu")
    module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    assert module == {"name": "golden_pixel_8", "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"}}
    kconfig = (folder / module["build"]["kconfig"]).read_text()
    assert kconfig.startswith('config GOLDEN_PIXEL_8\n\tbool "golden-pixel-8 1.4.0')
    assert all(not line or line[0] == "\t" or line.startswith("config ") for line in kconfig.splitlines())
    cmake = (folder / module["build"]["cmake"] / "CMakeLists.txt").read_text()
    assert "if(CONFIG_GOLDEN_PIXEL_8)" in cmake
    for name in re.findall(r"/\.\./(src/\w+\.c)", cmake):
        assert (folder / name).is_file()


def test_zephyrs_cmake_is_good_cmake(tmp_path: Path):
    """Zephyr's functions stand here as macros of the same names, which is all that CMake sees of them."""
    needs("cmake", "gcc")
    folder = packed(facts(tmp_path, "sound", formats=("mcu",)), tmp_path / "mcu")
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nset(CONFIG_GOLDEN_PIXEL_8 y)\n"
        "macro(zephyr_library_named name)\n  add_library(${name} STATIC)\n  set(last ${name})\nendmacro()\n"
        "macro(zephyr_library_sources)\n  target_sources(${last} PRIVATE ${ARGN})\nendmacro()\n"
        "macro(zephyr_include_directories)\n  target_include_directories(${last} PUBLIC ${ARGN})\nendmacro()\n"
        f"add_subdirectory({folder}/zephyr zephyr)\n"
    )
    ran("cmake", "-S", tmp_path, "-B", tmp_path / "build")
    ran("cmake", "--build", tmp_path / "build")


def test_contract_and_verified_library(tmp_path: Path):
    made = facts(tmp_path, "two_tasks", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    stated = json.loads((folder / "edgekd.json").read_text())
    model = made.models["c"]
    assert stated["model"] == {"file": "src/golden_pixel_8.inc", "sha256": model.sha256, "bytes": model.path.stat().st_size}
    assert hashlib.sha256((folder / stated["model"]["file"]).read_bytes()).hexdigest() == model.sha256
    assert [output["task"] for output in stated["outputs"]] == ["shape", "light"]
    assert stated["vectors"]["exact"] and stated["vectors"]["count"] == 8


def test_the_same_facts_make_the_same_bytes(tmp_path: Path):
    made = facts(tmp_path, "sound", formats=("mcu",))
    one, two = packed(made, tmp_path / "one"), packed(made, tmp_path / "two")
    for path in one.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_what_cannot_be_packed_is_said(tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="is not there as a C library"):
        pack(facts(tmp_path, "float", formats=("mcu",)), tmp_path / "out")
    made = facts(tmp_path, "int8", formats=("mcu",))
    source = made.models["c"].path
    text = source.read_text()
    source.write_text(text + "\n")
    with pytest.raises(InputError, match="is another file than the one that was verified"):
        pack(made, tmp_path / "out")
    fewer = text.replace("golden_pixel_8_c2[216] EK_WEIGHTS", "golden_pixel_8_c2[216]")
    source.write_text(fewer)
    other = replace(made.models["c"], sha256=hashlib.sha256(fewer.encode()).hexdigest())
    with pytest.raises(InputError, match="bytes of constants were read in it"):
        pack(replace(made, models={"c": other}), tmp_path / "out")
