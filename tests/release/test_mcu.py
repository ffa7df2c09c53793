"""The firmware bundle's accessor: its check finds other headers and changed weights, its numbers are NumPy's, C++ reads its headers."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import InputError
from edgekd.quant import reference
from edgekd.release.facts import Vectors
from edgekd.release.mcu import ACCESSOR_BYTES, pack, text_of
from edgekd.release_facts import Inputs
from tests.c_layers import fully_connected
from tests.firmware_bundles import STRICT, compiled, needs, packed, ran
from tests.release.bundles import with_labels
from tests.released import exported, facts

HOSTILE = ("a\"b\\", "??/\n??'", "*/ #error", "drèss 🐈‍⬛", "%s%n", "nul\0l", "\ud800", "$(exit 1) ${X} `x`", "\u202eright")  # fmt: skip


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
    out = reference.run(made.graph, np.full((1, 20, 20, 3), 3, np.int8), "tflm")["shape"][0]
    border = model.heads[0].output
    assert border.scale is not None and border.zero_point is not None
    expected = np.float32(border.scale) * (out.ravel().astype(np.float32) - np.float32(border.zero_point))
    assert np.array_equal(np.array(values.split(), np.float32), expected)
    assert rest == "1 -1 -1 1 [bright] []"


def test_hostile_labels_are_text(tmp_path: Path):
    made = with_labels(facts(tmp_path, "int8", formats=("mcu",)), HOSTILE[:6], "c")
    for at, labels in enumerate((HOSTILE[:6], HOSTILE[3:])):
        folder = packed(with_labels(made, labels, "c"), tmp_path / str(at))
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


def test_contract_and_verified_library(tmp_path: Path):
    made = facts(tmp_path, "two_tasks", formats=("mcu",))
    folder = packed(made, tmp_path / "mcu")
    stated = json.loads((folder / "edgekd.json").read_text())
    model = made.models["c"]
    assert stated["model"] == {"file": "src/golden_pixel_8.inc", "sha256": model.sha256, "bytes": model.path.stat().st_size}
    assert hashlib.sha256((folder / stated["model"]["file"]).read_bytes()).hexdigest() == model.sha256
    assert [output["task"] for output in stated["outputs"]] == ["shape", "light"]
    assert stated["vectors"]["exact"] and stated["vectors"]["count"] == 8


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
    with pytest.raises(InputError, match="constant arrays were read in it, of"):
        pack(replace(made, models={"c": other}), tmp_path / "out")


def test_sixteen_bits(tmp_path: Path):
    """A graph of int16 activations."""
    graph = next(made for made in (fully_connected(seed, "int16") for seed in range(20)) if len(made.tensor(made.outputs[0]).shape) == 2)
    graph = replace(graph, name="golden_pixel_8")
    x = np.random.default_rng(0).integers(-32768, 32768, (4, *graph.tensor(graph.inputs[0]).shape[1:])).astype(np.int16)
    model = exported(graph, "c", tmp_path / "c", Inputs(x, None, "random"))
    out = reference.run(graph, x, "tflm")[graph.outputs[0]].reshape(len(x), -1)
    made = facts(tmp_path, "int8", formats=("mcu",))
    made = replace(made, graph=graph, models={"c": model}, vectors=Vectors(x, (out,), True), vectors_by_format={})
    folder = packed(made, tmp_path / "mcu")
    needs("gcc")
    own = (folder / "src/golden_pixel_8_model.c", folder / "test/golden_pixel_8_test.c")
    ran("gcc", "-std=c11", *STRICT.split(), "-I", folder / "src", *own, "-o", tmp_path / "program")
    assert ran(tmp_path / "program").endswith("4 test vectors pass.\n")


def test_the_c_of_the_docs(repository: Path, tmp_path: Path):
    needs("gcc")
    folder = packed(facts(tmp_path, "int8", formats=("mcu",)), tmp_path / "mcu")
    snippet = re.search(r"```c\n(.*?)```", (repository / "docs/firmware.md").read_text(), re.DOTALL)
    assert snippet
    text = snippet[1].replace("keywords_nrf52840dk", "golden_pixel_8").replace("KEYWORDS_NRF52840DK", "GOLDEN_PIXEL_8")
    (tmp_path / "docs.c").write_text(f"#include <stddef.h>\n{text}")
    ran("gcc", "-std=c11", *STRICT.split(), "-fsyntax-only", "-I", folder / "src", tmp_path / "docs.c")
