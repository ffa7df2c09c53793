"""The firmware bundle as the projects that take it in: CMake builds and tests it on the host and for Cortex-M in QEMU, Arduino,
PlatformIO and Zephyr find what their specifications demand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.firmware_bundles import STRICT, needs, packed, ran
from tests.released import facts

#: What the tests boot on: machine of QEMU, flags; and the names of its kernels.
CORES = {
    "cortex-m3": ("mps2-an385", "-mcpu=cortex-m3 -mthumb", set()),
    "cortex-m4": ("mps2-an386", "-mcpu=cortex-m4 -mthumb", {"_dsp_"}),
    "cortex-m55": ("mps3-an547", "-mcpu=cortex-m55 -mthumb -mfloat-abi=hard", {"_mve_"}),
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
    machine, flags, kernels = CORES[core]
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
    assert facts(tmp_path, kind, formats=("mcu",)).vectors_for("mcu").exact, "bit by bit"
    names = ran("arm-none-eabi-nm", tmp_path / "build/libgolden_pixel_8.a")
    assert {part for part in ("_dsp_", "_mve_") if part in names} == kernels


@pytest.mark.parametrize("kind", ("int8", "two_tasks", "sound"))
def test_the_sketch_is_good_cpp(tmp_path: Path, kind: str):
    needs("g++")
    folder = packed(facts(tmp_path, kind, formats=("mcu",)), tmp_path / "mcu")
    (tmp_path / "Arduino.h").write_text(ARDUINO)
    sketch = folder / "examples/GoldenPixel8/GoldenPixel8.ino"
    ran("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-include", tmp_path / "Arduino.h", "-I", folder / "src",
        "-x", "c++", sketch)  # fmt: skip


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
